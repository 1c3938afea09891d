//! `mica content`. The bytes of blobs go from and to files of the store without a server
//! between.

use std::io::{self, Read as _};

use super::arguments::ContentCommand;
use super::output::{Output, labels, size, time};
use super::{CliError, Session};
use crate::content::{Blobs, IngestStatus};
use crate::labels::masked;
use crate::meta::{ContentRecord, Labels};
use crate::oci::Digest;

/// Bytes read from stdin at a time.
const CHUNK: usize = 1 << 20;

pub(super) fn run(session: &Session, command: &ContentCommand) -> Result<(), CliError> {
    let client = session.client()?;
    let own = || Blobs::new(&session.store, session.namespace.clone());
    match command {
        ContentCommand::Ls(arguments) => list(session, &client.blobs(&arguments.filters)?),
        ContentCommand::Info { digest } => info(session, &client.blob(digest)?),
        ContentCommand::Get { digest } => Output::copy(own().read(digest, 0, None)?),
        ContentCommand::Label { digest, labels } => {
            let changes: Labels = labels.iter().cloned().collect();
            let update = |mask: &[&str]| client.label_blob(digest, &changes, mask);
            info(session, &masked(&changes, update)?)
        }
        ContentCommand::Rm { digests } => digests.iter().try_for_each(|digest| {
            client.remove_blob(digest)?;
            Output::line(format!("removed {digest}"))
        }),
        ContentCommand::Ingest {
            reference,
            expected_size,
            expected_digest,
            labels,
        } => {
            let labels = labels.iter().cloned().collect();
            let expected = (*expected_size, expected_digest.as_ref());
            let record = ingest(&own(), reference, expected, labels)?;
            if session.output.is_json() {
                return Output::json(&record);
            }
            Output::line(record.digest)
        }
        ContentCommand::Active(arguments) => active(session, &client.ingests(&arguments.filters)?),
        ContentCommand::Abort { references } => references.iter().try_for_each(|reference| {
            client.abort_ingest(reference)?;
            Output::line(format!("aborted {reference}"))
        }),
    }
}

fn list(session: &Session, blobs: &[ContentRecord]) -> Result<(), CliError> {
    session
        .output
        .records(blobs, ["DIGEST", "SIZE", "CREATED", "LABELS"], |record| {
            [
                record.digest.to_string(),
                size(record.size),
                time(record.created),
                labels(&record.labels),
            ]
        })
}

fn info(session: &Session, record: &ContentRecord) -> Result<(), CliError> {
    let lines = [
        ("digest", record.digest.to_string()),
        ("size", record.size.to_string()),
        ("labels", labels(&record.labels)),
        ("created", time(record.created)),
        ("updated", time(record.updated)),
    ];
    session.output.record(record, lines)
}

/// Makes a blob of stdin, from its beginning whatever was written before.
fn ingest(
    blobs: &Blobs,
    reference: &str,
    (size, digest): (u64, Option<&Digest>),
    labels: Labels,
) -> Result<ContentRecord, CliError> {
    let mut writer = blobs.writer(reference, size, digest)?;
    writer.truncate()?;
    let mut stdin = io::stdin().lock();
    let mut buffer = Vec::with_capacity(CHUNK);
    loop {
        buffer.clear();
        stdin
            .by_ref()
            .take(CHUNK as u64)
            .read_to_end(&mut buffer)
            .map_err(CliError::Input)?;
        if buffer.is_empty() {
            return Ok(writer.commit(size, digest, labels)?);
        }
        writer.write(&buffer)?;
    }
}

fn active(session: &Session, ingests: &[IngestStatus]) -> Result<(), CliError> {
    session.output.records(
        ingests,
        ["REF", "SIZE", "TOTAL", "STARTED", "UPDATED"],
        |status| {
            let total = match status.total {
                0 => "-".to_owned(),
                total => size(total),
            };
            [
                status.reference.clone(),
                size(status.offset),
                total,
                time(status.started),
                time(status.updated),
            ]
        },
    )
}
