//! `mica events`.

use super::arguments::EventsArguments;
use super::output::Output;
use super::{CliError, Session};
use crate::events::Envelope;

pub(super) fn run(session: Session, arguments: &EventsArguments) -> Result<(), CliError> {
    let events = session.store.events();
    let output = session.output;
    let filter = arguments.filter.filter()?;
    // One that follows must not keep the store.
    drop(session);
    let mut follower = if arguments.since.is_some() || arguments.no_follow {
        events.from_oldest()?
    } else {
        events.from_now()?
    };
    loop {
        for envelope in follower.read()? {
            let is_recent = arguments
                .since
                .is_none_or(|since| envelope.timestamp >= since);
            if is_recent && filter.matches(&envelope) {
                print(output, &envelope)?;
            }
        }
        if arguments.no_follow {
            return Ok(());
        }
        follower.wait(None)?;
    }
}

/// Prints an event as a line: of JSON, or as `ctr events` does.
fn print(output: Output, envelope: &Envelope) -> Result<(), CliError> {
    if output.is_json() {
        return Output::json_line(envelope);
    }
    let fields = serde_json::to_value(&envelope.event).map_err(|e| CliError::Output(e.into()))?;
    Output::line(format_args!(
        "{} {} {} {}",
        envelope.timestamp,
        envelope.namespace.as_str(),
        envelope.event.topic(),
        fields.get("event").unwrap_or(&fields),
    ))
}
