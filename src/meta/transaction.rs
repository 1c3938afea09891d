//! One transaction: reads see its own writes, which are applied all at once.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::MetaError;
use super::database::Database;
use super::key::Namespace;
use super::record::{Record, decode, encode};
use crate::events::Event;

/// Changes by key; `None` stands for a removed record.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The records inside one [`Meta::read`](super::Meta::read) or
/// [`Meta::write`](super::Meta::write).
#[derive(Debug)]
pub(crate) struct Transaction<'d> {
    database: &'d Database,
    changes: RefCell<Changes>,
    events: RefCell<Vec<(Namespace, Event)>>,
}

impl<'d> Transaction<'d> {
    pub(super) fn new(database: &'d Database) -> Self {
        Self {
            database,
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
        let bytes = self.database.find(&key)?;
        bytes.map(|bytes| decode(&key, &bytes)).transpose()
    }

    /// Returns all records of one kind, in the order of their names.
    pub(crate) fn list<R: Record>(&self, namespace: &Namespace) -> Result<Vec<R>, MetaError> {
        let prefix = R::TABLE.prefix(namespace);
        let mut found: BTreeMap<_, _> = self.database.scan(&prefix)?.into_iter().collect();
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

    /// Returns the changes and the events.
    pub(super) fn into_changes(self) -> (Changes, Vec<(Namespace, Event)>) {
        (self.changes.into_inner(), self.events.into_inner())
    }
}
