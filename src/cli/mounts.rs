//! `mounts`: what is mounted, and what was asked of it.

use serde::Serialize;

use super::arguments::MountsArguments;
use super::output::{Output, time};
use super::{CliError, Session};
use crate::mounts::{MountRecord, MountStatistics, Records};

pub(super) fn run(session: &Session, arguments: &MountsArguments) -> Result<(), CliError> {
    let records = Records::at(session.store.mounts()).list()?;
    if arguments.stats {
        return tell_statistics(session.output, records);
    }
    session.output.records(
        &records,
        [
            "MOUNT POINT",
            "SOURCE",
            "MODE",
            "TRANSPORT",
            "MOUNTED",
            "PROCESS",
        ],
        |record| {
            [
                record.mountpoint.display().to_string(),
                source(record),
                if record.is_writable() { "rw" } else { "ro" }.to_owned(),
                record.transport.name().to_owned(),
                time(record.created),
                record.pid.to_string(),
            ]
        },
    )
}

/// A mount with what was asked of it.
#[derive(Debug, Serialize)]
struct Asked {
    #[serde(flatten)]
    record: MountRecord,
    statistics: Option<MountStatistics>,
}

fn tell_statistics(output: Output, records: Vec<MountRecord>) -> Result<(), CliError> {
    let mut mounts = Vec::new();
    for record in records {
        let statistics = record.statistics()?;
        mounts.push(Asked { record, statistics });
    }
    if output.is_json() {
        return Output::json(&mounts);
    }
    let rows: Vec<[String; 5]> = mounts.iter().flat_map(rows).collect();
    let header = [
        "MOUNT POINT",
        "TRANSPORT",
        "REQUEST",
        "COUNT",
        "MICROSECONDS EACH",
    ];
    output.records(&rows, header, Clone::clone)
}

/// Returns the lines of one mount.
fn rows(mount: &Asked) -> Vec<[String; 5]> {
    let point = mount.record.mountpoint.display().to_string();
    let row = |request: &str, count: String, time: String| {
        let transport = mount.record.transport.name().to_owned();
        [point.clone(), transport, request.to_owned(), count, time]
    };
    let none = || "-".to_owned();
    let Some(statistics) = &mount.statistics else {
        return vec![row("-", none(), none())];
    };
    let mut rows = Vec::new();
    for request in &statistics.requests {
        let (whole, tenth) = (request.mean_ns / 1000, request.mean_ns % 1000 / 100);
        let time = format!("{whole}.{tenth}");
        rows.push(row(request.name, request.count.to_string(), time));
    }
    let ahead = statistics.look_ups_given_ahead.to_string();
    rows.push(row("(lookup saved)", ahead, none()));
    rows
}

fn source(record: &MountRecord) -> String {
    if record.browse.is_some() {
        return record.store.display().to_string();
    }
    let name = record.image.as_ref().or(record.snapshot.as_ref());
    name.cloned().unwrap_or_else(|| "-".to_owned())
}
