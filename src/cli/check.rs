//! `mica check`.

use std::io::{self, Write as _};

use serde::Serialize;

use super::arguments::CheckArguments;
use super::output::{Output, size};
use super::{CliError, Session};
use crate::check::{self, Finding, Report, Severity};
use crate::registry;

/// A check with what a repair has done about it.
#[derive(Debug, Serialize)]
struct Repaired<'r> {
    #[serde(flatten)]
    before: &'r Report,
    /// What is left.
    left: &'r [Finding],
    /// Why.
    failures: &'r [String],
}

pub(super) fn run(session: &Session, arguments: &CheckArguments) -> Result<(), CliError> {
    if arguments.rebuild {
        return rebuild(session);
    }
    let report = check::check(&session.store)?;
    if !arguments.repair || report.findings.is_empty() {
        return tell(session, &report);
    }
    let registry = registry::Options {
        hosts_dirs: registry::default_hosts_dirs(),
        ..registry::Options::default()
    };
    let (left, failures) = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?
        .block_on(check::repair(&session.store, &report, &registry))?;
    if session.output.is_json() {
        Output::json(&Repaired {
            before: &report,
            left: &left.findings,
            failures: &failures,
        })?;
        return judge(&left);
    }
    for finding in &report.findings {
        let is_left = left.findings.iter().any(|now| now.fault == finding.fault);
        let outcome = if is_left { "not repaired" } else { "repaired" };
        Output::line(format!("{outcome}: {}", finding.problem))?;
    }
    for failure in &failures {
        // The exit status tells too; stderr may be gone.
        drop(writeln!(io::stderr().lock(), "{failure}"));
    }
    summary(&left)?;
    judge(&left)
}

fn tell(session: &Session, report: &Report) -> Result<(), CliError> {
    if session.output.is_json() {
        Output::json(report)?;
        return judge(report);
    }
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Damage => "damage",
            Severity::Orphan => "orphan",
        };
        Output::line(format!("{severity}: {}", finding.problem))?;
        if let Some(path) = &finding.path {
            Output::line(format!("  at: {}", path.display()))?;
        }
        Output::line(format!("  repair: {}", finding.repair))?;
    }
    summary(report)?;
    judge(report)
}

fn summary(report: &Report) -> Result<(), CliError> {
    let orphans = report.findings.len() - report.damage();
    Output::line(format!(
        "{} images, {} snapshots, {} layers, {} blobs, {}: {} damaged, {} orphaned",
        report.images,
        report.snapshots,
        report.layers,
        report.blobs,
        size(report.bytes),
        report.damage(),
        orphans,
    ))
}

fn judge(report: &Report) -> Result<(), CliError> {
    match report.damage() {
        0 => Ok(()),
        count => Err(CliError::Faults(count)),
    }
}

fn rebuild(session: &Session) -> Result<(), CliError> {
    let rebuilt = check::rebuild(&session.store)?;
    if session.output.is_json() {
        return Output::json(&rebuilt);
    }
    if rebuilt.is_whole {
        Output::line("all records were in the journal; nothing is lost")?;
    } else {
        Output::line(format!(
            "the journal was damaged too; found {} blobs and {} snapshots by their files",
            rebuilt.blobs, rebuilt.snapshots
        ))?;
        for name in &rebuilt.images {
            Output::line(format!("an image has lost its name, and is now {name}"))?;
        }
    }
    Output::line(format!("the old files are in {}", rebuilt.aside.display()))
}
