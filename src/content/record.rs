//! What the records say of a blob.

use jiff::Timestamp;

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
    let now = Timestamp::now();
    let name = digest.to_string();
    let old: Option<ContentRecord> = transaction.find(namespace, &name)?;
    let (created, mut all) = old.map_or((now, Labels::new()), |old| (old.created, old.labels));
    all.extend(labels);
    let record = ContentRecord {
        digest,
        size,
        labels: all,
        created,
        updated: now,
    };
    transaction.put(namespace, &name, &record)
}
