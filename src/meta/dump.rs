//! All records at one moment, for those who need to see them together.
//!
//! They are read in a transaction and decoded after it, so that nobody waits for that.

use super::database::Entries;
use super::key::{Table, namespace_of};
use super::record::{ContentRecord, ImageRecord, LeaseRecord, Record, SnapshotRecord, decode};
use super::{MetaError, Namespace};

/// All keys and records, in the order of the keys.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(super) entries: Entries,
    pub(super) commits: u64,
    pub(super) has_labelled_roots: bool,
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

impl Dump {
    /// Decodes the records.
    pub(crate) fn decode(&self) -> Result<AllRecords, MetaError> {
        let mut namespaces: Vec<(Namespace, NamespaceRecords)> = Vec::new();
        for (key, bytes) in &self.entries {
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
