//! Repositories that have what is pushed, as the labels of blobs name them, before and after.

use std::collections::BTreeMap;

use super::{Context, records};
use crate::content::{self, distribution};
use crate::images::Selection;
use crate::meta::{Labels, MetaError, Namespace};
use crate::oci::{Digest, Reference};
use crate::store::Store;

/// Returns the repositories at the registry of `to`, but for its own, that have a blob.
pub(super) fn sources(
    store: &Store,
    namespace: &Namespace,
    selection: &Selection,
    to: &Reference,
) -> Result<BTreeMap<Digest, Vec<String>>, MetaError> {
    let key = distribution::key(to.host());
    let of = |labels: &Labels| -> Vec<String> {
        let paths = labels.get(&key).map(String::as_str).unwrap_or_default();
        distribution::repositories(paths)
            .filter(|path| is_path(path) && *path != to.path())
            .map(str::to_owned)
            .collect()
    };
    let records = records(store, namespace, selection)?.into_iter();
    Ok(records
        .map(|record| (record.digest, of(&record.labels)))
        .collect())
}

/// Adds the repository of the push to the labels of all that was pushed.
pub(super) fn record(context: &Context) -> Result<(), MetaError> {
    let to = context.client.reference();
    let key = distribution::key(to.host());
    let namespace = &context.options.namespace;
    let records = records(&context.store, namespace, &context.selection)?;
    context.store.meta().write(|transaction| {
        for record in records {
            let old = record.labels.get(&key).map_or("", String::as_str);
            if distribution::repositories(old).any(|path| path == to.path()) {
                continue;
            }
            let Some(value) = distribution::extended(&key, old, to.path()) else {
                continue;
            };
            let labels = Labels::from([(key.clone(), value)]);
            content::record(transaction, namespace, record.digest, record.size, labels)?;
        }
        Ok(())
    })
}

/// Says whether a text can be the path of a repository, whoever has written the label.
fn is_path(text: &str) -> bool {
    format!("host.invalid/{text}")
        .parse::<Reference>()
        .is_ok_and(|reference| reference.path() == text)
}
