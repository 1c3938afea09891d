//! The labels that name the repositories in which a blob is.
//!
//! Key, form and limit are containerd's: `containerd.io/distribution.source.<host>`, without
//! a port, with the sorted paths of repositories, and nothing longer than 4096 bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, records};
use crate::content;
use crate::images::Selection;
use crate::meta::{Labels, MetaError, Namespace};
use crate::oci::{Digest, Reference};
use crate::store::Store;

const PREFIX: &str = "containerd.io/distribution.source.";
/// The most bytes of key and value.
const LIMIT: usize = 4096;

/// Returns the repositories at the registry of `to`, but for its own, that have a blob.
pub(super) fn sources(
    store: &Store,
    namespace: &Namespace,
    selection: &Selection,
    to: &Reference,
) -> Result<BTreeMap<Digest, Vec<String>>, MetaError> {
    let key = key(to.host());
    let of = |labels: &Labels| -> Vec<String> {
        let paths = labels.get(&key).map(String::as_str).unwrap_or_default();
        let others = paths
            .split(',')
            .filter(|path| is_path(path) && *path != to.path());
        others.map(str::to_owned).collect()
    };
    let records = records(store, namespace, selection)?.into_iter();
    Ok(records
        .map(|record| (record.digest, of(&record.labels)))
        .collect())
}

/// Adds the repository of the push to the labels of all that was pushed.
pub(super) fn record(context: &Context) -> Result<(), MetaError> {
    let to = context.client.reference();
    let key = key(to.host());
    let namespace = &context.options.namespace;
    let records = records(&context.store, namespace, &context.selection)?;
    context.store.meta().write(|transaction| {
        for record in records {
            let old = record.labels.get(&key).map(String::as_str);
            let Some(value) = extended(&key, old.unwrap_or_default(), to.path()) else {
                continue;
            };
            let labels = Labels::from([(key.clone(), value)]);
            content::record(transaction, namespace, record.digest, record.size, labels)?;
        }
        Ok(())
    })
}

fn key(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    format!("{PREFIX}{name}")
}

/// Returns the value with one path more; nothing when that changes nothing or is too long.
fn extended(key: &str, old: &str, path: &str) -> Option<String> {
    let mut paths: BTreeSet<&str> = old.split(',').filter(|path| !path.is_empty()).collect();
    let is_new = paths.insert(path);
    let value = paths.into_iter().collect::<Vec<_>>().join(",");
    (is_new && key.len() + value.len() <= LIMIT).then_some(value)
}

/// Says whether a text can be the path of a repository, whoever has written the label.
fn is_path(text: &str) -> bool {
    format!("host.invalid/{text}")
        .parse::<Reference>()
        .is_ok_and(|reference| reference.path() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_port() {
        for (host, expected) in [
            ("docker.io", "docker.io"),
            ("127.0.0.1:5000", "127.0.0.1"),
            ("[::1]:5000", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(key(host), format!("{PREFIX}{expected}"));
        }
    }

    #[test]
    fn paths_are_sorted_and_stand_once() {
        let long = "a/".repeat(3000);
        let cases = [
            ("first", "", "b", Some("b")),
            ("second", "b", "a", Some("a,b")),
            ("known", "a,b", "a", None),
            ("too long", &long, "a", None),
        ];
        for (why, old, path, expected) in cases {
            assert_eq!(extended(PREFIX, old, path).as_deref(), expected, "{why}");
        }
    }
}
