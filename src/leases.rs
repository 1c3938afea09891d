//! Leases: what must stay although no image and no label needs it yet.
//!
//! A lease names resources, and garbage collection spares them and what they refer to. So
//! whoever is about to use or to make something *first* puts it under a lease, and only
//! then looks whether it is there: what it finds then stays, and what it makes is never
//! garbage. A command holds a lease of its own ([`HeldLease`]), which ends with it; that
//! of a process that was killed ends when it expires, and until then the next try finds
//! what this one has left.
//!
//! Rules, labels and words are containerd's, with one type of resource more: a layer of
//! the layer store, which has no record of its own.

mod error;
mod held;
mod resource;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::filter::{self, Fields, Filter};
use crate::labels;
use crate::meta::{Labels, LeaseRecord, Meta, MetaError, Namespace, Transaction};
use crate::store::Store;

pub use error::LeaseError;
pub use held::HeldLease;
pub use resource::{Resource, ResourceKind};

/// The label that says when a lease or an image ends, in RFC 3339.
pub const EXPIRE: &str = "containerd.io/gc.expire";
/// The label of a lease that spares its resources alone, not what they refer to.
pub const FLAT: &str = "containerd.io/gc.flat";

/// The leases of one namespace.
#[derive(Debug, Clone)]
pub struct Leases {
    meta: Meta,
    namespace: Namespace,
}

impl Leases {
    /// Returns the leases that a store has in a namespace.
    pub fn new(store: &Store, namespace: Namespace) -> Self {
        Self {
            meta: store.meta(),
            namespace,
        }
    }

    /// Makes a lease without resources.
    pub fn create(&self, id: &str, labels: Labels) -> Result<LeaseRecord, LeaseError> {
        let labels = labels::checked(labels)?;
        if id.is_empty() || id.contains('\0') {
            return Err(LeaseError::Id(id.to_owned()));
        }
        self.meta.write(|transaction| {
            let taken: Option<LeaseRecord> = transaction.find(&self.namespace, id)?;
            if taken.is_some() {
                return Err(LeaseError::AlreadyExists(id.to_owned()));
            }
            let lease = LeaseRecord {
                id: id.to_owned(),
                labels,
                resources: Vec::new(),
                created: Timestamp::now(),
            };
            transaction.put(&self.namespace, id, &lease)?;
            Ok(lease)
        })
    }

    /// Ends a lease. What it alone has kept stays until garbage is collected.
    pub fn delete(&self, id: &str) -> Result<(), LeaseError> {
        self.meta.write(|transaction| {
            find(transaction, &self.namespace, id)?;
            Ok(transaction.remove::<LeaseRecord>(&self.namespace, id)?)
        })
    }

    /// Lists all leases, sorted by id.
    pub fn list(&self) -> Result<Vec<LeaseRecord>, LeaseError> {
        self.meta
            .read(|transaction| Ok(transaction.list(&self.namespace)?))
    }

    /// Lists the leases that a filter matches, sorted by id.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<LeaseRecord>, LeaseError> {
        let mut leases = self.list()?;
        leases.retain(|lease| filter.matches(lease));
        Ok(leases)
    }

    /// Puts a resource under a lease, whether or not it is there yet.
    pub fn add(&self, id: &str, resource: &Resource) -> Result<(), LeaseError> {
        self.change(id, |resources| {
            if !resources.contains(resource) {
                resources.push(resource.clone());
            }
        })
    }

    /// Takes a resource from a lease, if it has it.
    pub fn remove(&self, id: &str, resource: &Resource) -> Result<(), LeaseError> {
        self.change(id, |resources| resources.retain(|other| other != resource))
    }

    /// Lists the resources of a lease.
    pub fn resources(&self, id: &str) -> Result<Vec<Resource>, LeaseError> {
        let lease = self
            .meta
            .read(|transaction| find(transaction, &self.namespace, id))?;
        Ok(lease.resources)
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Vec<Resource>)) -> Result<(), LeaseError> {
        self.meta.write(|transaction| {
            let mut lease = find(transaction, &self.namespace, id)?;
            change(&mut lease.resources);
            Ok(transaction.put(&self.namespace, id, &lease)?)
        })
    }
}

/// The fields are `id` and `labels.KEY`.
impl Fields for LeaseRecord {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["id", ..] => Some(self.id.as_str().into()),
            ["labels", key @ ..] => filter::label(&self.labels, key),
            _ => None,
        }
    }
}

impl LeaseRecord {
    /// Says whether the lease has ended by itself. One whose label is no time never does.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        is_expired(&self.labels, now)
    }

    /// Says whether the lease spares its resources alone.
    pub fn is_flat(&self) -> bool {
        self.labels.contains_key(FLAT)
    }
}

/// Says whether a label says that the time of its owner is over.
pub(crate) fn is_expired(labels: &Labels, now: Timestamp) -> bool {
    let expire = labels.get(EXPIRE).and_then(|text| text.parse().ok());
    expire.is_some_and(|expire: Timestamp| expire <= now)
}

fn find(
    transaction: &Transaction,
    namespace: &Namespace,
    id: &str,
) -> Result<LeaseRecord, LeaseError> {
    match transaction.find(namespace, id) {
        Ok(Some(lease)) => Ok(lease),
        Ok(None) | Err(MetaError::Name { .. }) => Err(LeaseError::NotFound(id.to_owned())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
