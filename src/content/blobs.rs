//! The blobs of one namespace: which it has, their labels, and what is being written.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use jiff::Timestamp;

use super::ingest::{self, Request};
use super::writer::Writer;
use super::{Content, ContentError, IngestStatus, failed};
use crate::events::Event;
use crate::filter::{self, Fields, Filter};
use crate::labels;
use crate::meta::{ContentRecord, Labels, Meta, Namespace, Transaction};
use crate::oci::Digest;
use crate::publish;
use crate::store::{FileLock, LockName, Store};

/// The blobs that one namespace has.
#[derive(Debug, Clone)]
pub struct Blobs {
    pub(super) meta: Meta,
    pub(super) content: Content,
    pub(super) namespace: Namespace,
}

impl Blobs {
    /// Returns the blobs that a store has in a namespace.
    pub fn new(store: &Store, namespace: Namespace) -> Self {
        Self {
            meta: store.meta(),
            content: store.content(),
            namespace,
        }
    }

    /// Lists the blobs that a filter matches, sorted by digest.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<ContentRecord>, ContentError> {
        let mut records: Vec<ContentRecord> = self.meta.list(&self.namespace)?;
        records.retain(|record| filter.matches(record));
        Ok(records)
    }

    /// Returns the record of one blob.
    pub fn info(&self, digest: &Digest) -> Result<ContentRecord, ContentError> {
        self.meta
            .read(|transaction| self.record(transaction, digest))
    }

    /// Changes labels: all of them, or those that a field mask names (`labels.KEY`).
    pub fn update(
        &self,
        digest: &Digest,
        labels: &Labels,
        mask: &[&str],
    ) -> Result<ContentRecord, ContentError> {
        self.meta.write(|transaction| {
            let mut record = self.record(transaction, digest)?;
            let name = digest.to_string();
            record.labels = labels::updated("content", &name, &record.labels, labels, mask)?;
            record.updated = Timestamp::now();
            transaction.put(&self.namespace, &name, &record)?;
            Ok(record)
        })
    }

    /// Forgets a blob. Its file stays until garbage is collected.
    pub fn delete(&self, digest: &Digest) -> Result<(), ContentError> {
        self.meta.write(|transaction| {
            self.record(transaction, digest)?;
            transaction.remove::<ContentRecord>(&self.namespace, &digest.to_string())?;
            let digest = digest.clone();
            transaction.publish(&self.namespace, Event::ContentDelete { digest });
            Ok(())
        })
    }

    /// Opens a blob from an offset on, for as many bytes as there are and are wanted. The
    /// bytes are not verified.
    pub fn read(
        &self,
        digest: &Digest,
        offset: u64,
        length: Option<u64>,
    ) -> Result<io::Take<File>, ContentError> {
        self.info(digest)?;
        let path = self.content.path(digest);
        let mut file = self.content.open(digest)?;
        let size = file.metadata().map_err(failed("stat", &path))?.len();
        if offset > size {
            return Err(ContentError::ReadOffset { size });
        }
        file.seek(SeekFrom::Start(offset))
            .map_err(failed("seek in", &path))?;
        Ok(file.take(length.unwrap_or(u64::MAX).min(size - offset)))
    }

    /// Takes up what is being written under a reference, or begins it. `total` is zero
    /// when the size is not known.
    ///
    /// Whoever names the digest of a blob that the store has, but the namespace does not,
    /// finds it written already.
    pub fn writer(
        &self,
        reference: &str,
        total: u64,
        expected: Option<&Digest>,
    ) -> Result<Writer, ContentError> {
        if reference.is_empty() {
            return Err(ContentError::EmptyReference);
        }
        let request = Request {
            namespace: self.namespace.clone(),
            reference: reference.to_owned(),
            total,
            expected: expected.cloned(),
        };
        if let Some(expected) = expected {
            self.check_new(expected)?;
        }
        let lock = Arc::new(self.lock(&request.lock_name(), reference)?);
        Writer::open(self, request, lock)
    }

    /// Returns the status of what is being written under a reference.
    pub fn status(&self, reference: &str) -> Result<IngestStatus, ContentError> {
        for namespace in [&self.namespace, &Namespace::shared()] {
            if let Some(status) = ingest::status(&self.content, namespace, reference)? {
                return Ok(status);
            }
        }
        Err(ContentError::NoIngest(reference.to_owned()))
    }

    /// Lists what is being written, also what pulls write for all namespaces, sorted by
    /// reference.
    pub fn statuses(&self, filter: &Filter) -> Result<Vec<IngestStatus>, ContentError> {
        let mut statuses = ingest::list(&self.content.ingests, &self.namespace)?;
        statuses.retain(|status| filter.matches(status));
        Ok(statuses)
    }

    /// Throws away what was written under a reference that no writer has now.
    pub fn abort(&self, reference: &str) -> Result<(), ContentError> {
        for namespace in [&self.namespace, &Namespace::shared()] {
            let (directory, lock) = ingest::place(&self.content, namespace, reference);
            if !directory.exists() {
                continue;
            }
            let _lock = self.lock(&lock, reference)?;
            return publish::remove_tree(&directory).map_err(failed("remove", &directory));
        }
        Err(ContentError::NoIngest(reference.to_owned()))
    }

    fn lock(&self, name: &LockName, reference: &str) -> Result<FileLock, ContentError> {
        let lock = self.content.locks.exclusive_in_a_moment(name)?;
        lock.ok_or_else(|| ContentError::Locked(reference.to_owned()))
    }

    /// Makes sure that the namespace does not have a blob.
    pub(super) fn check_new(&self, digest: &Digest) -> Result<(), ContentError> {
        match self.info(digest) {
            Ok(_) => Err(ContentError::AlreadyExists(digest.clone())),
            Err(ContentError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn record(
        &self,
        transaction: &Transaction,
        digest: &Digest,
    ) -> Result<ContentRecord, ContentError> {
        let found = transaction.find(&self.namespace, &digest.to_string())?;
        found.ok_or_else(|| ContentError::NotFound(digest.clone()))
    }
}

impl Fields for ContentRecord {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["digest", ..] => Some(self.digest.to_string().into()),
            ["labels", key @ ..] => filter::label(&self.labels, key),
            _ => None,
        }
    }
}
