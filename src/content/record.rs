//! What the records say of a blob.

use jiff::Timestamp;

use crate::events::Event;
use crate::meta::{ContentRecord, Labels, MetaError, Namespace, Transaction};
use crate::oci::Digest;

/// Records a blob, or adds labels to its record.
pub(crate) fn record(
    transaction: &Transaction,
    namespace: &Namespace,
    digest: Digest,
    size: u64,
    labels: Labels,
) -> Result<(), MetaError> {
    let name = digest.to_string();
    let Some(mut record) = transaction.find::<ContentRecord>(namespace, &name)? else {
        create(transaction, namespace, digest, size, labels)?;
        return Ok(());
    };
    record.size = size;
    record.labels.extend(labels);
    record.updated = Timestamp::now();
    transaction.put(namespace, &name, &record)
}

/// Records a blob that a namespace did not have.
pub(super) fn create(
    transaction: &Transaction,
    namespace: &Namespace,
    digest: Digest,
    size: u64,
    labels: Labels,
) -> Result<ContentRecord, MetaError> {
    let now = Timestamp::now();
    let record = ContentRecord {
        digest: digest.clone(),
        size,
        labels,
        created: now,
        updated: now,
    };
    transaction.put(namespace, &digest.to_string(), &record)?;
    transaction.publish(namespace, Event::ContentCreate { digest, size });
    Ok(record)
}
