//! What lives and why, and what does not.

use mica_proto::mica::node::Kind;
use mica_proto::mica::survey_response::{Garbage, Live, Step};
use mica_proto::mica::{Node, SurveyResponse};

use super::super::call::{Answers, blocks};
use crate::gc::{self, NodeKind, Survey};

/// Returns a survey, piece by piece: what lives, then what does not.
pub(super) fn messages(survey: Survey) -> Answers<SurveyResponse> {
    let live = survey.live.into_iter().map(live).map(Ok);
    let garbage = survey.garbage.into_iter().map(garbage).map(Err);
    blocks(live.chain(garbage).collect(), |block| {
        let mut message = SurveyResponse::default();
        for thing in block {
            match thing {
                Ok(live) => message.live.push(live),
                Err(garbage) => message.garbage.push(garbage),
            }
        }
        message
    })
}

fn live(live: gc::Live) -> Live {
    let step = |step: gc::Step| Step {
        node: Some(node(step.node)),
        link: step.link,
    };
    Live {
        namespace: live.namespace.as_str().to_owned(),
        node: Some(node(live.node)),
        why: live.why.into_iter().map(step).collect(),
    }
}

fn garbage(garbage: gc::Garbage) -> Garbage {
    Garbage {
        namespace: garbage.namespace.map(|name| name.as_str().to_owned()),
        node: Some(node(garbage.node)),
        size: garbage.size,
    }
}

fn node(node: gc::Node) -> Node {
    let kind = match node.kind {
        NodeKind::Lease => Kind::Lease,
        NodeKind::Image => Kind::Image,
        NodeKind::Content => Kind::Content,
        NodeKind::Snapshot => Kind::Snapshot,
        NodeKind::Layer => Kind::Layer,
        NodeKind::Directory => Kind::Directory,
        NodeKind::Ingest => Kind::Ingest,
    };
    Node {
        kind: kind.into(),
        id: node.id,
    }
}
