//! How a pull or a push looks: bars on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::oci::Digest;
use crate::pull::{Observer, State};
use crate::push::{PushObserver, PushState};

/// How far one blob is.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It waits, or something happens to it that takes a moment.
    Busy(&'static str),
    /// So many bytes of so many have gone.
    Moving(&'static str, u64, u64),
    /// Nothing more happens to it.
    End(&'static str),
}

/// Shows how far blobs are.
type Board = Box<dyn Fn(&Digest, Step) + Send + Sync>;

/// Returns what watches a pull.
pub(super) fn observer(is_quiet: bool) -> Observer {
    let Some(board) = board(is_quiet) else {
        return Observer::default();
    };
    Observer::new(move |digest, state| {
        let step = match state {
            State::Waiting => Step::Busy("waiting"),
            State::Exists => Step::End("exists"),
            State::Downloading { bytes, total } => Step::Moving("downloading", bytes, total),
            State::Unpacking => Step::Busy("unpacking"),
            State::Done => Step::End("done"),
        };
        board(digest, step);
    })
}

/// Returns what watches a push.
pub(super) fn push_observer(is_quiet: bool) -> PushObserver {
    let Some(board) = board(is_quiet) else {
        return PushObserver::default();
    };
    PushObserver::new(move |digest, state| {
        let step = match state {
            PushState::Waiting => Step::Busy("waiting"),
            PushState::Exists => Step::End("exists"),
            PushState::Mounted => Step::End("mounted"),
            PushState::Uploading { bytes, total } => Step::Moving("uploading", bytes, total),
            PushState::Done => Step::End("done"),
        };
        board(digest, step);
    })
}

fn board(is_quiet: bool) -> Option<Board> {
    if is_quiet {
        None
    } else if io::stderr().is_terminal() {
        Some(bars())
    } else {
        Some(lines())
    }
}

/// A line for each change of a blob's state; what moves does not tell how far it is.
fn lines() -> Board {
    let last: Mutex<HashMap<Digest, &'static str>> = Mutex::default();
    Box::new(move |digest, step| {
        let word = step.word();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.insert(digest.clone(), word) != Some(word) {
            // Progress is not worth a failure when stderr is gone.
            drop(writeln!(io::stderr().lock(), "{}: {word}", digest.short()));
        }
    })
}

/// A bar for each blob.
fn bars() -> Board {
    let all = MultiProgress::new();
    let bars: Mutex<HashMap<Digest, ProgressBar>> = Mutex::default();
    Box::new(move |digest, step| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(digest.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new(0));
            bar.set_prefix(digest.short().to_owned());
            bar
        });
        show(bar, step);
    })
}

fn show(bar: &ProgressBar, step: Step) {
    if let Step::Moving(_, bytes, total) = step {
        if bar.length() != Some(total) {
            bar.set_length(total);
            // Bytes of an earlier try are no measure of today's rate.
            bar.set_position(bytes);
            bar.reset_eta();
            bar.set_style(style(
                "{prefix} {bar:30} {bytes:>10}/{total_bytes} {bytes_per_sec}",
            ));
        }
        bar.set_position(bytes);
        return;
    }
    bar.set_style(style("{prefix} {msg}"));
    match step {
        Step::End(word) => bar.finish_with_message(word),
        Step::Busy(word) | Step::Moving(word, ..) => {
            bar.set_message(word);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Busy(word) | Self::Moving(word, ..) | Self::End(word) => word,
        }
    }
}
