//! The store as a whole: what is garbage, what lives, and where it is mounted.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use mica_proto::mica::mica_client::MicaClient;
use mica_proto::mica::mica_server::Mica as _;
use mica_proto::mica::node::Kind;
use mica_proto::mica::{Node as NodeMessage, UmountRequest, survey_response as message};

use super::answer::{field, parsed};
use super::{Client, ClientError, ask, follow};
use crate::gc::{Collected, Garbage, Live, Node, NodeKind, Step, Survey};

impl Client {
    /// Removes what nothing needs.
    pub(crate) fn collect(&self) -> Result<Collected, ClientError> {
        let collected = ask!(self, mica, MicaClient::gc, ())?;
        Ok(Collected {
            is_deferred: collected.is_deferred,
            blobs: collected.blobs,
            layers: collected.layers,
            snapshots: collected.snapshots,
            ingests: collected.ingests,
            bytes: collected.bytes,
        })
    }

    /// Takes a mount away; also where somebody uses it, if it is to be `lazy`.
    pub(crate) fn umount(&self, mountpoint: &Path, lazy: bool) -> Result<(), ClientError> {
        let umount = UmountRequest {
            mountpoint: mountpoint.as_os_str().as_bytes().to_vec(),
            lazy,
        };
        Ok(ask!(self, mica, MicaClient::umount, umount)?)
    }

    /// Returns what lives and why, and what would be removed.
    pub(crate) fn survey(&self) -> Result<Survey, ClientError> {
        let mut survey = Survey {
            live: Vec::new(),
            garbage: Vec::new(),
        };
        follow!(self, mica, MicaClient::survey, (), |block| {
            for thing in block.live {
                survey.live.push(live(thing)?);
            }
            for thing in block.garbage {
                survey.garbage.push(garbage(thing)?);
            }
            Ok::<_, ClientError>(())
        })?;
        Ok(survey)
    }
}

fn live(live: message::Live) -> Result<Live, ClientError> {
    let steps = live.why.into_iter().map(|step| {
        Ok::<_, ClientError>(Step {
            node: node(step.node)?,
            link: step.link,
        })
    });
    Ok(Live {
        namespace: parsed(&live.namespace, "namespace")?,
        node: node(live.node)?,
        why: steps.collect::<Result<_, _>>()?,
    })
}

fn garbage(garbage: message::Garbage) -> Result<Garbage, ClientError> {
    let namespace = garbage.namespace;
    let namespace = namespace.map(|name| parsed(&name, "namespace"));
    Ok(Garbage {
        namespace: namespace.transpose()?,
        node: node(garbage.node)?,
        size: garbage.size,
    })
}

fn node(message: Option<NodeMessage>) -> Result<Node, ClientError> {
    let message = field(message, "node")?;
    let kind = match message.kind() {
        Kind::Lease => NodeKind::Lease,
        Kind::Image => NodeKind::Image,
        Kind::Content => NodeKind::Content,
        Kind::Snapshot => NodeKind::Snapshot,
        Kind::Layer => NodeKind::Layer,
        Kind::Directory => NodeKind::Directory,
        Kind::Ingest => NodeKind::Ingest,
    };
    Ok(Node {
        kind,
        id: message.id,
    })
}
