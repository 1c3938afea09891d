//! All records at one moment, for those who need to see many of them.
//!
//! They are taken in a transaction, and read and decoded after it, so that nobody waits for
//! that.

use std::thread;

use super::key::{Table, namespace_of};
use super::record::{ContentRecord, ImageRecord, LeaseRecord, Record, SnapshotRecord, decode};
use super::recording::{Entries, Recording};
use super::{Meta, MetaError, Namespace};

/// All keys and records, in the order of the keys.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(super) taken: Taken,
    pub(super) commits: u64,
    pub(super) has_labelled_roots: bool,
    /// Whether there are leases, and so perhaps commands that run.
    pub(crate) has_leases: bool,
}

/// How records are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the journal, where it has them all.
    Journal,
    /// By the database.
    Copy,
}

/// Where the records are.
#[derive(Debug)]
pub(super) enum Taken {
    /// In the journal.
    Recorded(Recording),
    /// In memory.
    Copied(Entries),
}

/// All records.
#[derive(Debug)]
pub(crate) struct AllRecords {
    /// How many transactions had changed records by then.
    pub(crate) commits: u64,
    /// Whether all snapshots that a user of an older release has made are labelled as roots.
    pub(crate) has_labelled_roots: bool,
    /// The records of each namespace that has any.
    pub(crate) namespaces: Vec<(Namespace, NamespaceRecords)>,
}

/// The records of one namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceRecords {
    pub(crate) images: Vec<ImageRecord>,
    pub(crate) snapshots: Vec<SnapshotRecord>,
    pub(crate) content: Vec<ContentRecord>,
    pub(crate) leases: Vec<LeaseRecord>,
}

impl Meta {
    /// Takes all records as they are now.
    pub(crate) fn dump(&self) -> Result<Dump, MetaError> {
        self.read(|transaction| transaction.dump(Way::Journal))
    }

    /// Decodes records that were taken, or later ones if these are damaged.
    pub(crate) fn decode(&self, dump: &Dump) -> Result<AllRecords, MetaError> {
        self.look_into(dump, Dump::decode)?
    }

    /// Returns all records of one kind, in the order of their names.
    pub(crate) fn list<R: Record>(&self, namespace: &Namespace) -> Result<Vec<R>, MetaError> {
        let prefix = R::TABLE.prefix(namespace);
        self.look_into(&self.dump()?, |_, entries| {
            let found = entries.under(&prefix);
            found.map(|(key, bytes)| decode(key, bytes)).collect()
        })?
    }

    /// Runs a closure over what was taken. Meanwhile is seen whether the journal is as it was
    /// written; if it is not, the database is asked instead.
    fn look_into<T>(
        &self,
        dump: &Dump,
        work: impl Fn(&Dump, &Entries) -> T,
    ) -> Result<T, MetaError> {
        let recording = match &dump.taken {
            Taken::Copied(entries) => return Ok(work(dump, entries)),
            Taken::Recorded(recording) => recording,
        };
        match recording.read() {
            Ok(entries) => {
                let (value, is_sound) = thread::scope(|scope| {
                    let check = scope.spawn(|| entries.is_sound());
                    (work(dump, &entries), check.join())
                });
                if matches!(is_sound, Ok(true)) {
                    return Ok(value);
                }
                tracing::warn!("the journal is damaged; `mica check` tells more");
            }
            Err(error) => tracing::warn!(%error, "the journal cannot be read"),
        }
        let copied = self.read(|transaction| transaction.dump(Way::Copy))?;
        self.look_into(&copied, work)
    }
}

impl Dump {
    fn decode(&self, entries: &Entries) -> Result<AllRecords, MetaError> {
        let mut namespaces: Vec<(Namespace, NamespaceRecords)> = Vec::new();
        for (key, bytes) in entries.iter() {
            let Some(namespace) = namespace_of(key) else {
                continue;
            };
            if namespaces.last().map(|(last, _)| last) != Some(&namespace) {
                namespaces.push((namespace, NamespaceRecords::default()));
            }
            if let Some((namespace, records)) = namespaces.last_mut() {
                records.add(namespace, key, bytes)?;
            }
        }
        Ok(AllRecords {
            commits: self.commits,
            has_labelled_roots: self.has_labelled_roots,
            namespaces,
        })
    }
}

impl NamespaceRecords {
    fn add(&mut self, namespace: &Namespace, key: &[u8], bytes: &[u8]) -> Result<(), MetaError> {
        let is = |table: Table| key.starts_with(&table.prefix(namespace));
        if is(Table::Content) {
            push(&mut self.content, key, bytes)
        } else if is(Table::Snapshots) {
            push(&mut self.snapshots, key, bytes)
        } else if is(Table::Images) {
            push(&mut self.images, key, bytes)
        } else if is(Table::Leases) {
            push(&mut self.leases, key, bytes)
        } else {
            Ok(())
        }
    }
}

fn push<R: Record>(records: &mut Vec<R>, key: &[u8], bytes: &[u8]) -> Result<(), MetaError> {
    records.push(decode(key, bytes)?);
    Ok(())
}
