//! One collection: mark, remove records, remove files.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::courtesy::give_way;
use super::error::GcError;
use super::files::{self, File, Listing};
use super::mark::{Marked, mark};
use super::{NodeKind, due, upgrade};
use crate::events::Event;
use crate::layers::SETTLED;
use crate::meta::{
    AllRecords, ContentRecord, Dump, ImageRecord, LeaseRecord, MetaError, Namespace, SnapshotId,
    SnapshotRecord, Transaction,
};
use crate::publish;
use crate::snapshots::{Directories, SNAPSHOTTER};
use crate::store::{LockName, Store};

/// How long a collection waits for that of another process.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the records may change under a collection before it gives up.
const TRIES: usize = 50;
/// How many files are moved away in one transaction.
const BATCH: usize = 128;

/// What a collection has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Collected {
    /// The records changed all the time; there may be more garbage.
    pub is_deferred: bool,
    /// Blobs removed.
    pub blobs: u64,
    /// Layers removed.
    pub layers: u64,
    /// Directories of snapshots removed.
    pub snapshots: u64,
    /// Broken-off downloads removed.
    pub ingests: u64,
    /// The bytes that they took.
    pub bytes: u64,
}

/// The records at one moment, and what of them lives.
#[derive(Debug)]
pub(super) struct Survivors {
    pub(super) records: AllRecords,
    /// In the order of the namespaces in the records.
    pub(super) marked: Vec<Marked>,
}

/// What came of one try to remove something.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    Done(T),
    /// The records have changed since the mark.
    Changed,
    /// Garbage is in use.
    InUse(BTreeSet<SnapshotId>),
}

/// Removes what nothing needs and no process uses.
pub(crate) fn collect(store: &Store) -> Result<Collected, GcError> {
    let lock = store.locks().exclusive(&LockName::Gc, PATIENCE)?;
    // Layers need not be looked at more often than they settle.
    let age = SystemTime::now().duration_since(lock.modified()?);
    let some_have_settled = age.unwrap_or_default() >= SETTLED;
    due::tidy(store)?;
    store.locks().sweep()?;
    let mut collected = Collected {
        is_deferred: true,
        ..Collected::default()
    };
    let mut in_use = BTreeSet::new();
    for _ in 0..TRIES {
        let dump = store.meta().dump()?;
        let is_alone = !dump.has_leases;
        let listing = Listing::of(store)?;
        let mark = || Ok::<_, GcError>(Survivors::among(decode(store, &dump)?, &in_use));
        let survivors = if is_alone { mark() } else { give_way(mark) }?;
        if !survivors.records.has_labelled_roots {
            upgrade::store(store, &survivors.records)?;
            continue;
        }
        let expected = match remove_records(store, &survivors)? {
            Outcome::Done(commits) => commits,
            Outcome::Changed => continue,
            Outcome::InUse(ids) => {
                // It may have seemed so for a moment only.
                for id in ids {
                    if Directories::new(store.root()).hold_unused(id)?.is_none() {
                        in_use.insert(id);
                    }
                }
                continue;
            }
        };
        // That the survivors are forgotten is work, too.
        let list = move || listing.garbage(store, &survivors);
        let garbage = if is_alone { list() } else { give_way(list) }?;
        if remove_files(store, &garbage, expected, &mut collected)? {
            if some_have_settled {
                store.layers().settle()?;
            }
            collected.is_deferred = false;
            break;
        }
    }
    if !collected.is_deferred {
        lock.touch()?;
    }
    Ok(collected)
}

impl Survivors {
    pub(super) fn of(store: &Store, in_use: &BTreeSet<SnapshotId>) -> Result<Self, GcError> {
        Ok(Self::among(read(store)?, in_use))
    }

    pub(super) fn among(records: AllRecords, in_use: &BTreeSet<SnapshotId>) -> Self {
        let now = Timestamp::now();
        let namespaces = records.namespaces.iter();
        let marked = namespaces
            .map(|(_, records)| mark(records, in_use, now))
            .collect();
        Self { records, marked }
    }

    /// Says whether a thing that all namespaces share lives.
    pub(super) fn has(&self, kind: NodeKind, id: impl Display) -> bool {
        let node = kind.node(id);
        self.marked.iter().any(|marked| marked.contains_key(&node))
    }
}

/// Reads all records.
pub(super) fn read(store: &Store) -> Result<AllRecords, GcError> {
    decode(store, &store.meta().dump()?)
}

fn decode(store: &Store, dump: &Dump) -> Result<AllRecords, GcError> {
    let mut records = store.meta().decode(dump)?;
    if !records.has_labelled_roots {
        upgrade::label(&mut records);
    }
    Ok(records)
}

/// Removes the records that are not marked; returns the count of commits by then.
pub(super) fn remove_records(
    store: &Store,
    survivors: &Survivors,
) -> Result<Outcome<u64>, GcError> {
    let garbage = garbage(survivors);
    let commits = survivors.records.commits;
    if garbage.is_empty() {
        return Ok(Outcome::Done(commits));
    }
    let directories = Directories::new(store.root());
    store.meta().write(|transaction| {
        if transaction.commits()? != commits {
            return Ok(Outcome::Changed);
        }
        let mut in_use = BTreeSet::new();
        for id in garbage
            .iter()
            .flat_map(|g| &g.snapshots)
            .filter_map(|s| s.id)
        {
            if directories.is_in_use(id)? {
                in_use.insert(id);
            }
        }
        if !in_use.is_empty() {
            return Ok(Outcome::InUse(in_use));
        }
        for removals in &garbage {
            removals.apply(transaction)?;
        }
        Ok(Outcome::Done(commits + 1))
    })
}

/// Returns the records that are not marked, namespace by namespace.
fn garbage(survivors: &Survivors) -> Vec<Removals<'_>> {
    survivors
        .records
        .namespaces
        .iter()
        .zip(&survivors.marked)
        .map(|((namespace, records), marked)| {
            let is_garbage = |kind: NodeKind, id: &str| !marked.contains_key(&kind.node(id));
            Removals {
                namespace,
                images: names(
                    &records.images,
                    |r| &r.name,
                    |id| is_garbage(NodeKind::Image, id),
                ),
                content: names(
                    &records.content,
                    |r| &r.digest,
                    |id| is_garbage(NodeKind::Content, id),
                ),
                leases: names(
                    &records.leases,
                    |r| &r.id,
                    |id| is_garbage(NodeKind::Lease, id),
                ),
                snapshots: records
                    .snapshots
                    .iter()
                    .filter(|r| is_garbage(NodeKind::Snapshot, &r.name))
                    .collect(),
            }
        })
        .filter(|removals| !removals.is_empty())
        .collect()
}

/// The records of one namespace that go.
#[derive(Debug)]
struct Removals<'r> {
    namespace: &'r Namespace,
    images: Vec<String>,
    content: Vec<String>,
    leases: Vec<String>,
    snapshots: Vec<&'r SnapshotRecord>,
}

impl Removals<'_> {
    fn is_empty(&self) -> bool {
        self.images.is_empty()
            && self.content.is_empty()
            && self.leases.is_empty()
            && self.snapshots.is_empty()
    }

    fn apply(&self, transaction: &Transaction) -> Result<(), MetaError> {
        let namespace = self.namespace;
        for name in &self.images {
            transaction.remove::<ImageRecord>(namespace, name)?;
            transaction.publish(namespace, Event::ImageDelete { name: name.clone() });
        }
        for digest in &self.content {
            transaction.remove::<ContentRecord>(namespace, digest)?;
        }
        for id in &self.leases {
            transaction.remove::<LeaseRecord>(namespace, id)?;
        }
        for snapshot in &self.snapshots {
            transaction.remove::<SnapshotRecord>(namespace, &snapshot.name)?;
            transaction.publish(
                namespace,
                Event::SnapshotRemove {
                    key: snapshot.name.clone(),
                    snapshotter: SNAPSHOTTER.to_owned(),
                },
            );
        }
        Ok(())
    }
}

/// Returns the names of the records that are garbage.
fn names<R, N: ToString>(
    records: &[R],
    name: impl Fn(&R) -> &N,
    is_garbage: impl Fn(&str) -> bool,
) -> Vec<String> {
    let names = records.iter().map(|record| name(record).to_string());
    names.filter(|name| is_garbage(name)).collect()
}

/// Removes the files that nothing which lives needs; `false` if the records changed first.
pub(super) fn remove_files(
    store: &Store,
    garbage: &[File],
    commits: u64,
    collected: &mut Collected,
) -> Result<bool, GcError> {
    for batch in garbage.chunks(BATCH) {
        let held = files::hold(store, batch)?;
        let moved = store.meta().read(|transaction| {
            if transaction.commits()? != commits {
                return Ok(Outcome::Changed);
            }
            files::set_aside(store, &held).map(Outcome::Done)
        })?;
        let Outcome::Done(moved) = moved else {
            return Ok(false);
        };
        for (file, path) in moved {
            collected.count(file, &path)?;
            let discarded = publish::discard(&path);
            discarded.map_err(|source| GcError::Io { path, source })?;
        }
    }
    Ok(true)
}

impl Collected {
    fn count(&mut self, file: &File, path: &Path) -> Result<(), GcError> {
        self.bytes += files::size(path)?;
        match file {
            File::Blob(_) => self.blobs += 1,
            File::Layer(_) => self.layers += 1,
            File::Directory(_) => self.snapshots += 1,
            File::Ingest(_) => self.ingests += 1,
        }
        Ok(())
    }
}
