//! All records at one moment, for those who need to see them together.
//!
//! They are read in a transaction and decoded after it, so that nobody waits for that.

use super::key::{Table, namespace_of, parse};
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

/// Many keys and records in one piece of memory, so that to copy them takes little time.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where in `bytes` each key and its record end.
    ends: Vec<(usize, usize)>,
}

impl Entries {
    pub(super) fn push(&mut self, key: &[u8], record: &[u8]) {
        self.bytes.extend_from_slice(key);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.ends.push((end, self.bytes.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let part = |start, end| self.bytes.get(start..end).unwrap_or_default();
        let entries = starts.zip(&self.ends);
        entries.map(move |(start, (middle, end))| (part(start, *middle), part(*middle, *end)))
    }
}

impl Dump {
    /// Says whether there are leases, and so perhaps commands that run.
    pub(crate) fn has_leases(&self) -> bool {
        let is_lease = |key| parse(key).is_some_and(|(_, table)| table == Table::Leases);
        self.entries.iter().any(|(key, _)| is_lease(key))
    }

    /// Decodes the records.
    pub(crate) fn decode(&self) -> Result<AllRecords, MetaError> {
        let mut namespaces: Vec<(Namespace, NamespaceRecords)> = Vec::new();
        for (key, bytes) in self.entries.iter() {
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
