//! One transaction: reads see its own writes, which are applied all at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::database::Database;
use super::dump::{Dump, Taken, Way};
use super::journal::{End, Journal};
use super::key::{Table, namespace_of, space};
use super::record::{CommitCounter, LeaseRecord, NamespaceRecord, Record, Roots, decode, encode};
use super::recording::Entries;
use super::{COMMITS, Labels, MetaError, Namespace, failed};
use crate::events::Event;

/// Changes by key; `None` stands for a removed record.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// The name of [`Roots`] among the shared records.
const ROOTS: &str = "roots";

/// The records inside one [`Meta::read`](super::Meta::read) or
/// [`Meta::write`](super::Meta::write).
#[derive(Debug)]
pub(crate) struct Transaction<'d> {
    database: &'d Database,
    /// The journal, where it has all that the database has.
    journal: Option<(&'d Journal, End)>,
    changes: RefCell<Changes>,
    events: RefCell<Vec<(Namespace, Event)>>,
    /// What has to be on the disk before the changes.
    directories: RefCell<BTreeSet<PathBuf>>,
}

impl<'d> Transaction<'d> {
    pub(super) fn new(database: &'d Database) -> Self {
        Self {
            database,
            journal: None,
            changes: RefCell::default(),
            events: RefCell::default(),
            directories: RefCell::default(),
        }
    }

    /// Says where the journal ends that has all that the database has, if it has.
    pub(super) fn recorded(self, journal: &'d Journal, end: Option<End>) -> Self {
        Self {
            journal: end.map(|end| (journal, end)),
            ..self
        }
    }

    /// Returns the record of this name.
    pub(crate) fn find<R: Record>(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<R>, MetaError> {
        let key = R::TABLE.key(namespace, name)?;
        if let Some(change) = self.changes.borrow().get(&key) {
            return change
                .as_deref()
                .map(|bytes| decode(&key, bytes))
                .transpose();
        }
        let bytes = self.database.find(&key)?;
        bytes.map(|bytes| decode(&key, &bytes)).transpose()
    }

    /// Returns all records of one kind, in the order of their names.
    pub(crate) fn list<R: Record>(&self, namespace: &Namespace) -> Result<Vec<R>, MetaError> {
        let prefix = R::TABLE.prefix(namespace);
        let changes = self.changes.borrow();
        let mut written = changes
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .peekable();
        let mut records = Vec::new();
        self.database.visit(&prefix, |key, bytes| {
            while let Some((before, change)) = written.next_if(|(next, _)| next.as_slice() < key) {
                push(&mut records, before, change.as_deref())?;
            }
            match written.next_if(|(next, _)| next.as_slice() == key) {
                Some((_, change)) => push(&mut records, key, change.as_deref()),
                None => push(&mut records, key, Some(bytes)),
            }
        })?;
        for (key, change) in written {
            push(&mut records, key, change.as_deref())?;
        }
        Ok(records)
    }

    /// Returns the records of one kind that have a text in them, in no order; also some that
    /// have not.
    pub(crate) fn list_with<R: Record>(
        &self,
        namespace: &Namespace,
        text: &str,
    ) -> Result<Vec<R>, MetaError> {
        // As a record has it.
        let text = serde_json::to_vec(text).unwrap_or_default();
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        let prefix = R::TABLE.prefix(namespace);
        let changes = self.changes.borrow();
        let mut records = Vec::new();
        self.database.visit(&prefix, |key, bytes| {
            if changes.contains_key(key) || !has(bytes) {
                return Ok(());
            }
            push(&mut records, key, Some(bytes))
        })?;
        let written = changes
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        for (key, change) in written {
            push(&mut records, key, change.as_deref())?;
        }
        Ok(records)
    }

    /// Says whether there is any record of one kind.
    pub(crate) fn has_any<R: Record>(&self, namespace: &Namespace) -> Result<bool, MetaError> {
        self.has_key(&R::TABLE.prefix(namespace))
    }

    /// Writes a record, whether or not there is one of this name; the first makes its
    /// namespace.
    pub(crate) fn put<R: Record>(
        &self,
        namespace: &Namespace,
        name: &str,
        record: &R,
    ) -> Result<(), MetaError> {
        let key = R::TABLE.key(namespace, name)?;
        let bytes = encode(&key, record)?;
        self.changes.borrow_mut().insert(key, Some(bytes));
        if R::TABLE == Table::Namespaces || namespace.is_shared() {
            return Ok(());
        }
        let name = namespace.as_str();
        if self.find::<NamespaceRecord>(namespace, name)?.is_none() {
            let record = NamespaceRecord {
                name: name.to_owned(),
                labels: Labels::new(),
            };
            self.put(namespace, name, &record)?;
        }
        Ok(())
    }

    /// Lists the namespaces that have records, sorted by name.
    pub(crate) fn namespaces(&self) -> Result<Vec<Namespace>, MetaError> {
        let mut found = Vec::new();
        // Past the last key of a namespace stands the first of the next.
        let mut after = vec![1];
        while let Some(key) = self.next_key(&after)? {
            after = key.split(|byte| *byte == 0).next().unwrap_or(&key).to_vec();
            after.push(1);
            found.extend(namespace_of(&key));
        }
        // `a.b` sorts before `a` as the beginning of a key.
        found.sort_unstable();
        Ok(found)
    }

    /// Says whether a namespace has records.
    pub(crate) fn has_namespace(&self, namespace: &Namespace) -> Result<bool, MetaError> {
        self.has_key(&space(namespace))
    }

    /// Removes all records of a namespace.
    pub(crate) fn clear(&self, namespace: &Namespace) -> Result<(), MetaError> {
        let prefix = space(namespace);
        let mut after = prefix.clone();
        while let Some(key) = self
            .next_key(&after)?
            .filter(|key| key.starts_with(&prefix))
        {
            after.clone_from(&key);
            self.changes.borrow_mut().insert(key, None);
        }
        Ok(())
    }

    /// Says whether any key starts with a prefix.
    fn has_key(&self, prefix: &[u8]) -> Result<bool, MetaError> {
        let next = self.next_key(prefix)?;
        Ok(next.is_some_and(|key| key.starts_with(prefix)))
    }

    /// Returns the first key after another, with the changes of this transaction.
    fn next_key(&self, after: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        let changes = self.changes.borrow();
        let mut position = after.to_vec();
        loop {
            let stored = self.database.next_key(&position)?;
            let written = changes
                .range::<[u8], _>((Bound::Excluded(position.as_slice()), Bound::Unbounded))
                .next();
            let first = match (&stored, written) {
                (Some(stored), Some((written, _))) => stored.min(written).clone(),
                (Some(key), None) | (None, Some((key, _))) => key.clone(),
                (None, None) => return Ok(None),
            };
            match changes.get(&first) {
                Some(None) => position = first,
                _ => return Ok(Some(first)),
            }
        }
    }

    /// Removes the record of this name, if there is one.
    pub(crate) fn remove<R: Record>(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<(), MetaError> {
        let key = R::TABLE.key(namespace, name)?;
        self.changes.borrow_mut().insert(key, None);
        Ok(())
    }

    /// Takes all records as they were before this transaction.
    pub(super) fn dump(&self, way: Way) -> Result<Dump, MetaError> {
        let recorded = self.journal.filter(|_| way == Way::Journal);
        let taken = if let Some((journal, end)) = recorded {
            let recording = journal.recording(end);
            Taken::Recorded(recording.map_err(failed(journal, "open"))?)
        } else {
            let mut entries = Entries::default();
            self.database.visit(b"", |key, bytes| {
                entries.push(key, bytes);
                Ok(())
            })?;
            Taken::Copied(entries)
        };
        let roots: Option<Roots> = self.find(&Namespace::shared(), ROOTS)?;
        let mut has_leases = false;
        for namespace in self.namespaces()? {
            has_leases |= self.has_any::<LeaseRecord>(&namespace)?;
        }
        Ok(Dump {
            taken,
            has_leases,
            commits: self.commits()?,
            has_labelled_roots: roots.is_some_and(|roots| roots.are_labelled),
        })
    }

    /// Returns how many transactions have changed records before this one.
    pub(crate) fn commits(&self) -> Result<u64, MetaError> {
        let counter: Option<CommitCounter> = self.find(&Namespace::shared(), COMMITS)?;
        Ok(counter.map_or(0, |counter| counter.last))
    }

    /// Notes that all snapshots that need it are labelled as roots.
    pub(crate) fn set_labelled_roots(&self) -> Result<(), MetaError> {
        let roots = Roots { are_labelled: true };
        self.put(&Namespace::shared(), ROOTS, &roots)
    }

    /// Notes of a new database that no older release has made anything in it.
    pub(super) fn note_if_first(&self) -> Result<(), MetaError> {
        let is_change = !self.changes.borrow().is_empty();
        if is_change && self.commits()? == 0 && self.database.scan(b"")?.is_empty() {
            self.set_labelled_roots()?;
        }
        Ok(())
    }

    /// Publishes an event once the transaction is committed, if it is.
    pub(crate) fn publish(&self, namespace: &Namespace, event: Event) {
        self.events.borrow_mut().push((namespace.clone(), event));
    }

    /// Has the entries of a directory, which the changes name, on the disk before them.
    pub(crate) fn sync_first(&self, directory: &Path) {
        let mut directories = self.directories.borrow_mut();
        directories.insert(directory.to_owned());
    }

    /// Takes the directories that come first.
    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        self.directories.take()
    }

    /// Returns the changes and the events.
    pub(super) fn into_changes(self) -> (Changes, Vec<(Namespace, Event)>) {
        (self.changes.into_inner(), self.events.into_inner())
    }
}

/// Adds a record, unless it was removed.
fn push<R: Record>(
    records: &mut Vec<R>,
    key: &[u8],
    bytes: Option<&[u8]>,
) -> Result<(), MetaError> {
    if let Some(bytes) = bytes {
        records.push(decode(key, bytes)?);
    }
    Ok(())
}
