//! `mica content`.

use super::arguments::ContentCommand;
use super::output::{Output, labels, size, time};
use super::{CliError, Session};
use crate::meta::ContentRecord;

pub(super) fn run(session: &Session, command: &ContentCommand) -> Result<(), CliError> {
    match command {
        ContentCommand::Ls(arguments) => {
            let filter = arguments.filter()?;
            let mut records: Vec<ContentRecord> = session
                .store
                .meta()
                .read(|t| t.list(&session.namespace).map_err(CliError::from))?;
            records.retain(|record| filter.matches(record));
            session.output.records(
                &records,
                ["DIGEST", "SIZE", "CREATED", "LABELS"],
                |record| {
                    let ContentRecord {
                        digest,
                        labels: all,
                        ..
                    } = record;
                    [
                        digest.to_string(),
                        size(record.size),
                        time(record.created),
                        labels(all),
                    ]
                },
            )
        }
        ContentCommand::Info { digest } => {
            let name = digest.to_string();
            let found: Option<ContentRecord> = session
                .store
                .meta()
                .read(|t| t.find(&session.namespace, &name).map_err(CliError::from))?;
            let record = found.ok_or_else(|| CliError::NoRecord(digest.clone()))?;
            let lines = [
                ("digest", name),
                ("size", record.size.to_string()),
                ("labels", labels(&record.labels)),
                ("created", time(record.created)),
                ("updated", time(record.updated)),
            ];
            session.output.record(&record, lines)
        }
        ContentCommand::Get { digest } => Output::copy(session.content().open(digest)?),
    }
}
