//! How a pull looks: bars on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::oci::Digest;
use crate::pull::{Observer, State};

/// Returns what watches a pull.
pub(super) fn observer(is_quiet: bool) -> Observer {
    if is_quiet {
        Observer::default()
    } else if io::stderr().is_terminal() {
        bars()
    } else {
        lines()
    }
}

/// A line for each change of a layer's state; downloads do not tell their progress.
fn lines() -> Observer {
    let last: Mutex<HashMap<Digest, &'static str>> = Mutex::default();
    Observer::new(move |digest, state| {
        let word = word(state);
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.insert(digest.clone(), word) != Some(word) {
            // Progress is not worth a failure when stderr is gone.
            drop(writeln!(io::stderr().lock(), "{}: {word}", digest.short()));
        }
    })
}

/// A bar for each layer.
fn bars() -> Observer {
    let all = MultiProgress::new();
    let bars: Mutex<HashMap<Digest, ProgressBar>> = Mutex::default();
    Observer::new(move |digest, state| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(digest.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new(0));
            bar.set_prefix(digest.short().to_owned());
            bar
        });
        show(bar, state);
    })
}

fn show(bar: &ProgressBar, state: State) {
    if let State::Downloading { bytes, total } = state {
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
    match state {
        State::Done | State::Exists => bar.finish_with_message(word(state)),
        _ => {
            bar.set_message(word(state));
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Exists => "exists",
        State::Downloading { .. } => "downloading",
        State::Unpacking => "unpacking",
        State::Done => "done",
    }
}
