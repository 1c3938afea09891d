//! `mica prune`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde::Serialize;

use super::arguments::PruneArguments;
use super::output::{Output, size, time};
use super::{CliError, Session, gc};
use crate::prune::{Prune, Selection, Unused};

/// What a dry run tells.
#[derive(Debug, Serialize)]
struct Offer<'u> {
    unused: &'u [Unused],
    /// What would be free once all of it, and all garbage, is gone.
    bytes: u64,
}

pub(super) fn run(session: &Session, arguments: &PruneArguments) -> Result<(), CliError> {
    let prune = Prune::new(&session.store, session.namespace.clone());
    let unused = prune.unused(selection(arguments))?;
    if arguments.dry_run {
        let unused = &unused[..];
        let bytes = prune.would_free(unused)?;
        if session.output.is_json() {
            return Output::json(&Offer { unused, bytes });
        }
        show(session, unused)?;
        return Output::line(format!("would free {}", size(bytes)));
    }
    if unused.is_empty() {
        return gc::free(session, &session.client()?);
    }
    if !arguments.yes && !is_agreed(session, &prune, &unused)? {
        return Ok(());
    }
    for unused in prune.remove(&unused)? {
        if !session.output.is_json() {
            Output::line(format!("removed {} {}", unused.what, unused.node.id))?;
        }
    }
    gc::free(session, &session.client()?)
}

fn selection(arguments: &PruneArguments) -> Selection {
    let is_any = !arguments.images && !arguments.snapshots;
    Selection {
        images: arguments.images || is_any,
        active: arguments.snapshots || is_any,
        others: arguments.all && (arguments.snapshots || is_any),
    }
}

fn show(session: &Session, unused: &[Unused]) -> Result<(), CliError> {
    session
        .output
        .records(unused, ["UNUSED", "NAME", "SIZE", "UPDATED"], |unused| {
            [
                unused.what.to_owned(),
                unused.node.id.clone(),
                size(unused.size),
                time(unused.updated),
            ]
        })
}

/// Asks the user, who must be there.
fn is_agreed(session: &Session, prune: &Prune, unused: &[Unused]) -> Result<bool, CliError> {
    if session.output.is_json() || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CliError::NotAsked(unused.len()));
    }
    show(session, unused)?;
    let question = format!(
        "Remove these {} and free {}? [y/N] ",
        unused.len(),
        size(prune.would_free(unused)?)
    );
    let mut stderr = io::stderr().lock();
    let asked = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush());
    asked.map_err(CliError::Output)?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(CliError::Output)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
