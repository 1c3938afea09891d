//! The check: is everything in the store what it says it is, and is it all there?
//!
//! All bytes are read: digests of blobs and layers are computed anew, indexes of layers
//! are made anew, and records are compared with files both ways. Without repair nothing is
//! changed, and the check runs beside mounts, pulls and all else: what others make or
//! remove meanwhile is not taken for damage, since a record counts as lacking
//! something only if it is still there when the check ends.
//!
//! A [`Finding`] is *damage*, or an *orphan*: something that a killed process has left and that
//! nothing refers to. Orphans are no reason for worry; the next sweep takes them away.

mod bytes;
mod documents;
mod fault;
mod files;
mod rebuild;
mod records;
mod repair;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::content::ContentError;
use crate::gc::GcError;
use crate::images::ImageError;
use crate::layers::LayerError;
use crate::meta::{MetaError, Survey};
use crate::publish;
use crate::pull::PullError;
use crate::snapshots::SnapshotError;
use crate::store::{Store, StoreError};

pub use fault::{Fault, Severity};
pub use rebuild::{Rebuilt, rebuild};
pub use repair::repair;

/// Why a check could not be made, or not to its end.
#[derive(Debug, Error)]
pub enum CheckError {
    /// A file could not be read, listed or moved.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: std::io::Error,
    },
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The blobs could not be listed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The layers could not be listed, or one could not be looked at.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The directories of snapshots could not be listed or described.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The documents of an image could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer could not be made again.
    #[error(transparent)]
    Pull(#[from] Box<PullError>),
    /// Orphans could not be removed.
    #[error(transparent)]
    Gc(#[from] GcError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What it is.
    #[serde(flatten)]
    pub fault: Fault,
    /// How bad that is.
    pub severity: Severity,
    /// What is wrong, in words.
    pub problem: String,
    /// The file or directory concerned, where there is one.
    #[serde(with = "crate::json_path::optional")]
    pub path: Option<PathBuf>,
    /// What a repair would do, in words.
    pub repair: &'static str,
}

/// What a check has looked at, and what it has found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// All that is not as it should be.
    pub findings: Vec<Finding>,
    /// The blobs that were read.
    pub blobs: usize,
    /// The layers that were read.
    pub layers: usize,
    /// The records of snapshots.
    pub snapshots: usize,
    /// The records of images.
    pub images: usize,
    /// The bytes that were read of blobs and layers.
    pub bytes: u64,
}

impl Report {
    /// Returns how much is damaged.
    pub fn damage(&self) -> usize {
        let is_damage = |finding: &&Finding| finding.severity == Severity::Damage;
        self.findings.iter().filter(is_damage).count()
    }

    fn find(&mut self, store: &Store, fault: Fault) {
        self.findings.push(Finding {
            severity: fault.severity(),
            problem: fault.to_string(),
            path: fault.path(store),
            repair: fault.repair(),
            fault,
        });
    }
}

/// Looks at everything in the store, and changes nothing.
pub fn check(store: &Arc<Store>) -> Result<Report, CheckError> {
    let mut report = Report::default();
    let (survey, listing) = store.meta().survey(|| files::list(store))?;
    let listing = listing?;
    report.images = survey.images.len();
    report.snapshots = survey.snapshots.len();
    for fault in records::faults(&survey) {
        report.find(store, fault);
    }
    let read = bytes::read(store, &listing)?;
    report.blobs = listing.blobs.len();
    report.layers = listing.layers.len();
    report.bytes = read.bytes;
    for fault in read.faults {
        report.find(store, fault);
    }
    for fault in files::compare(store, &survey, &listing)? {
        report.find(store, fault);
    }
    for fault in documents::faults(store, &survey)? {
        report.find(store, fault);
    }
    forget_what_others_changed(store, &mut report)?;
    Ok(report)
}

/// Drops what is no fault any more: the record is gone, or the missing thing is there now.
fn forget_what_others_changed(store: &Store, report: &mut Report) -> Result<(), CheckError> {
    if report.findings.is_empty() {
        return Ok(());
    }
    let (now, listing): (Survey, _) = store.meta().survey(|| files::list(store))?;
    let listing = listing?;
    report
        .findings
        .retain(|finding| finding.fault.still_holds(&now, &listing));
    Ok(())
}

/// Moves something that is damaged out of the way, to `damaged/`; returns where it is now.
fn set_aside(store: &Store, path: &std::path::Path, name: &str) -> Result<PathBuf, CheckError> {
    let directory = store.root().join("damaged");
    let aside = directory.join(format!("{name}.{}", publish::unique_name()));
    let moved = publish::create_private(&directory).and_then(|()| std::fs::rename(path, &aside));
    match moved {
        Ok(()) => Ok(aside),
        Err(source) => Err(CheckError::Io {
            operation: "set aside",
            path: path.to_owned(),
            source,
        }),
    }
}
