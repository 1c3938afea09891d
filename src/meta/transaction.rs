//! One transaction: reads see its own writes, which are applied all at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::MetaError;
use super::key::Namespace;
use super::record::{Record, decode, encode};
use crate::events::Event;

/// The records inside one [`Meta::read`](super::Meta::read) or
/// [`Meta::write`](super::Meta::write).
#[derive(Debug)]
pub(crate) struct Transaction {
    db: sled::Db,
    path: PathBuf,
    /// `None` stands for a removed record.
    changes: RefCell<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    events: RefCell<Vec<(Namespace, Event)>>,
}

impl Transaction {
    pub(super) fn new(db: sled::Db, path: PathBuf) -> Self {
        Self {
            db,
            path,
            changes: RefCell::default(),
            events: RefCell::default(),
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
        let bytes = self.db.get(&key).map_err(|error| self.failed(error))?;
        bytes.map(|bytes| decode(&key, &bytes)).transpose()
    }

    /// Returns all records of one kind, in the order of their names.
    pub(crate) fn list<R: Record>(&self, namespace: &Namespace) -> Result<Vec<R>, MetaError> {
        let prefix = R::TABLE.prefix(namespace);
        let mut found = BTreeMap::new();
        for entry in self.db.scan_prefix(&prefix) {
            let (key, bytes) = entry.map_err(|error| self.failed(error))?;
            found.insert(key.to_vec(), bytes.to_vec());
        }
        for (key, change) in self
            .changes
            .borrow()
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
        {
            match change {
                Some(bytes) => found.insert(key.clone(), bytes.clone()),
                None => found.remove(key),
            };
        }
        found
            .iter()
            .map(|(key, bytes)| decode(key, bytes))
            .collect()
    }

    /// Writes a record, whether or not there is one of this name.
    pub(crate) fn put<R: Record>(
        &self,
        namespace: &Namespace,
        name: &str,
        record: &R,
    ) -> Result<(), MetaError> {
        let key = R::TABLE.key(namespace, name)?;
        let bytes = encode(&key, record)?;
        self.changes.borrow_mut().insert(key, Some(bytes));
        Ok(())
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

    /// Publishes an event once the transaction is committed, if it is.
    pub(crate) fn publish(&self, namespace: &Namespace, event: Event) {
        self.events.borrow_mut().push((namespace.clone(), event));
    }

    /// Returns the changes, or `None` when there are none, and the events.
    pub(super) fn into_changes(self) -> (Option<sled::Batch>, Vec<(Namespace, Event)>) {
        let changes = self.changes.into_inner();
        let events = self.events.into_inner();
        let mut batch = sled::Batch::default();
        if changes.is_empty() {
            return (None, events);
        }
        for (key, change) in changes {
            match change {
                Some(bytes) => batch.insert(key, bytes),
                None => batch.remove(key),
            }
        }
        (Some(batch), events)
    }

    fn failed(&self, source: sled::Error) -> MetaError {
        MetaError::Database {
            operation: "read",
            path: self.path.clone(),
            source,
        }
    }
}
