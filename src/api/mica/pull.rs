//! Pulls: an image by its name, and how far its blobs are.
//!
//! A client that does not read misses some of the progress, and holds nothing up. One that
//! goes away ends its pull; what was brought by then is taken up by the next one.

use std::sync::Arc;

use mica_proto::mica::blob_progress::State as StateMessage;
use mica_proto::mica::pull_response::What;
use mica_proto::mica::{BlobProgress, PullRequest, PullResponse, Pulled};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::call::Call;
use super::super::convert;
use super::super::status::{refused, status};
use crate::error_class::ErrorClass;
use crate::oci::{Digest, Platform, PlatformMatcher};
use crate::pull::{Observer, Platforms, PullOptions, State, pull};
use crate::registry;
use crate::source::Source;

/// Messages that may wait for the client.
const AHEAD: usize = 256;

type Answers = Sender<Result<PullResponse, Status>>;

/// Begins a pull, and returns what is told of it.
pub(super) fn begin(
    call: &Call,
    request: &PullRequest,
) -> Result<ReceiverStream<Result<PullResponse, Status>>, Status> {
    let registry = registry::Options {
        plain_http: request.plain_http,
        hosts_dirs: registry::default_hosts_dirs(),
        ..registry::Options::default()
    };
    let source = Source::parse(&request.source, &registry).map_err(|error| status(&error))?;
    let mut options = PullOptions::new(source.name().to_string(), call.namespace.clone());
    options.unpack = !request.no_unpack;
    if request.all_platforms {
        options.platforms = Platforms::All;
    } else if !request.platforms.is_empty() {
        let matchers = request.platforms.iter().map(|text| matcher(text));
        options.platforms = Platforms::Each(matchers.collect::<Result<_, _>>()?);
    }
    let (answers, stream) = mpsc::channel(AHEAD);
    let call = call.clone();
    tokio::spawn(async move {
        let gone = answers.clone();
        tokio::select! {
            () = run(&call, source, &options, answers) => {}
            () = gone.closed() => {}
        }
    });
    Ok(ReceiverStream::new(stream))
}

async fn run(call: &Call, source: Source, options: &PullOptions, answers: Answers) {
    let observer = observer(answers.clone());
    let work = pull(Arc::clone(&call.store), Arc::new(source), options, observer);
    let outcome = work.await.map_err(|error| status(&error)).map(|pulled| {
        let chain_id = pulled.chain_id.map(|chain_id| chain_id.to_string());
        answer(What::Pulled(Pulled {
            target: Some(convert::descriptor_message(&pulled.target)),
            chain_id: chain_id.unwrap_or_default(),
        }))
    });
    // The client has gone if nobody takes it.
    drop(answers.send(outcome).await);
}

fn observer(answers: Answers) -> Observer {
    Observer::new(move |digest, state| {
        // What there is no room for is missed.
        drop(answers.try_send(Ok(answer(What::Blob(progress(digest, state))))));
    })
}

fn progress(digest: &Digest, state: State) -> BlobProgress {
    let (state, bytes, total) = match state {
        State::Waiting => (StateMessage::Waiting, 0, 0),
        State::Exists => (StateMessage::Exists, 0, 0),
        State::Downloading { bytes, total } => (StateMessage::Downloading, bytes, total),
        State::Unpacking => (StateMessage::Unpacking, 0, 0),
        State::Done => (StateMessage::Done, 0, 0),
    };
    BlobProgress {
        digest: digest.to_string(),
        state: state.into(),
        bytes: convert::size(bytes),
        total: convert::size(total),
    }
}

fn answer(what: What) -> PullResponse {
    PullResponse { what: Some(what) }
}

fn matcher(text: &str) -> Result<PlatformMatcher, Status> {
    match text.parse::<Platform>() {
        Ok(platform) => Ok(PlatformMatcher::new(&platform)),
        Err(error) => Err(refused(ErrorClass::InvalidArgument, &error.to_string())),
    }
}
