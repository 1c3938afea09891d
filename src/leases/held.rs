//! The lease of a command.

use jiff::{SignedDuration, Timestamp};

use super::{EXPIRE, LeaseError, Leases, Resource};
use crate::meta::{Labels, LeaseRecord, MetaError, Transaction};
use crate::publish;

/// How long the lease of a process that was killed lasts.
const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// A lease that ends when it is dropped.
#[derive(Debug)]
pub struct HeldLease {
    leases: Leases,
    id: String,
    is_ended: bool,
}

impl Leases {
    /// Makes a lease for a command, such as "pull", and puts resources under it.
    pub fn hold(&self, command: &str, resources: Vec<Resource>) -> Result<HeldLease, LeaseError> {
        let now = Timestamp::now();
        let expire = now.checked_add(LIFE).unwrap_or(Timestamp::MAX);
        let lease = LeaseRecord {
            id: format!("{command}-{}", publish::unique_name()),
            labels: Labels::from([(EXPIRE.to_owned(), expire.to_string())]),
            resources,
            created: now,
        };
        let put = |transaction: &Transaction| transaction.put(&self.namespace, &lease.id, &lease);
        self.meta.write(put)?;
        Ok(HeldLease {
            leases: self.clone(),
            id: lease.id,
            is_ended: false,
        })
    }
}

impl HeldLease {
    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Puts further resources under the lease, before they are looked for.
    pub fn add(&self, resources: Vec<Resource>) -> Result<(), LeaseError> {
        self.leases
            .change(&self.id, |present| present.extend(resources))
    }

    /// Ends the lease in the transaction that records what it has kept so far.
    pub(crate) fn end_with<T, E: From<MetaError>>(
        mut self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let value = self.leases.meta.write(|transaction| {
            let value = work(transaction)?;
            transaction.remove::<LeaseRecord>(&self.leases.namespace, &self.id)?;
            Ok::<_, E>(value)
        })?;
        self.is_ended = true;
        Ok(value)
    }

    /// Ends the lease.
    pub fn end(self) -> Result<(), LeaseError> {
        self.end_with(|_| Ok(()))
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        if let Err(error) = self.leases.delete(&self.id) {
            tracing::warn!(lease = self.id, %error, "the lease stays until it expires");
        }
    }
}
