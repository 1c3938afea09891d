//! How far a transfer is, as its client is told.
//!
//! Workers note how far each blob is, and what has changed is sent a few times a second. A
//! client that does not read holds nothing up: it is told what is true when it reads again.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mica_proto::prost_types::Any;
use mica_proto::transfer_types;
use tokio::sync::mpsc::Sender;
use tokio::time::{interval, timeout};
use tonic::Status;

use super::super::any::packed;
use super::super::convert;
use super::super::streams::OpenStream;
use crate::oci::{Descriptor, Digest};
use crate::pull::{Observer, State};
use crate::push::{PushObserver, PushState};

/// Between two reports.
const PERIOD: Duration = Duration::from_millis(100);
/// How long the end waits for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells a client, if one wants to know.
#[derive(Debug, Default)]
pub(super) struct Progress {
    client: Option<Sender<Result<Any, Status>>>,
    board: Board,
}

/// What the workers have noted, by blob.
#[derive(Debug, Clone, Default)]
struct Board(Arc<Mutex<BTreeMap<String, Note>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    event: &'static str,
    bytes: u64,
    total: u64,
    is_told: bool,
}

impl Progress {
    /// Tells the client of a stream.
    pub(super) fn on(stream: OpenStream) -> Self {
        Self {
            client: Some(stream.outgoing),
            board: Board::default(),
        }
    }

    /// Tells of the transfer as a whole.
    pub(super) async fn say(&self, event: String) {
        self.send(transfer_types::Progress {
            event,
            ..transfer_types::Progress::default()
        })
        .await;
    }

    /// Tells of an image that is done.
    pub(super) async fn done(&self, event: &str, name: &str, target: &Descriptor) {
        self.send(transfer_types::Progress {
            event: event.to_owned(),
            name: name.to_owned(),
            desc: Some(convert::descriptor_message(target)),
            ..transfer_types::Progress::default()
        })
        .await;
    }

    /// Does work, and tells meanwhile how far it is.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = interval(PERIOD);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = ticks.tick() => self.report(),
            }
        };
        for (name, note) in self.board.news() {
            self.send(message(&name, &note)).await;
        }
        result
    }

    /// Returns who notes how far a pull is.
    pub(super) fn of_pull(&self) -> Observer {
        let board = self.board.clone();
        Observer::new(move |digest, state| {
            let (event, bytes, total) = match state {
                State::Waiting => ("waiting", 0, 0),
                State::Exists => ("already exists", 0, 0),
                State::Downloading { bytes, total } => ("downloading", bytes, total),
                State::Unpacking => ("extracting", 0, 0),
                State::Done => ("complete", 0, 0),
            };
            board.note(digest, event, bytes, total);
        })
    }

    /// Returns who notes how far a push is.
    pub(super) fn of_push(&self) -> PushObserver {
        let board = self.board.clone();
        PushObserver::new(move |digest, state| {
            let (event, bytes, total) = match state {
                PushState::Waiting => ("waiting", 0, 0),
                PushState::Uploading { bytes, total } => ("uploading", bytes, total),
                PushState::Exists | PushState::Mounted => ("already exists", 0, 0),
                PushState::Done => ("complete", 0, 0),
            };
            board.note(digest, event, bytes, total);
        })
    }

    /// Sends what is new, as far as there is room for it.
    fn report(&self) {
        let Some(client) = &self.client else {
            return;
        };
        for (name, note) in self.board.news() {
            if client.try_send(Ok(packed(&message(&name, &note)))).is_err() {
                self.board.keep(&name, &note);
            }
        }
    }

    async fn send(&self, progress: transfer_types::Progress) {
        if let Some(client) = &self.client {
            // Whoever does not read, or has gone, is not told.
            drop(timeout(PATIENCE, client.send(Ok(packed(&progress)))).await);
        }
    }
}

impl Board {
    fn note(&self, digest: &Digest, event: &'static str, bytes: u64, total: u64) {
        let note = Note {
            event,
            bytes,
            total,
            is_told: false,
        };
        self.notes().insert(format!("layer-{digest}"), note);
    }

    /// Returns what has not been told, which then has been.
    fn news(&self) -> Vec<(String, Note)> {
        let mut notes = self.notes();
        let news = notes.iter_mut().filter(|(_, note)| !note.is_told);
        news.map(|(name, note)| {
            note.is_told = true;
            (name.clone(), note.clone())
        })
        .collect()
    }

    /// Takes back that something has been told, unless there is something newer to tell.
    fn keep(&self, name: &str, note: &Note) {
        if let Some(found) = self.notes().get_mut(name)
            && found == note
        {
            found.is_told = false;
        }
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(name: &str, note: &Note) -> transfer_types::Progress {
    transfer_types::Progress {
        event: note.event.to_owned(),
        name: name.to_owned(),
        progress: convert::size(note.bytes),
        total: convert::size(note.total),
        ..transfer_types::Progress::default()
    }
}
