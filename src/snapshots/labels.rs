//! Labels of snapshots: what may be one, and what a field mask changes.

use super::SnapshotError;
use crate::meta::Labels;

/// The most bytes of a label's key and value together.
pub(super) const LIMIT: usize = 4096;
/// The label that names the snapshot which a prepare is to end in.
pub(super) const TARGET: &str = "containerd.io/snapshot.ref";
/// The label that keeps what it stands on from being swept.
pub(super) const ROOT: &str = "containerd.io/gc.root";

/// Returns labels as they are stored: an empty value stands for no label.
pub(super) fn checked(labels: Labels) -> Result<Labels, SnapshotError> {
    for (key, value) in &labels {
        let length = key.len() + value.len();
        if length > LIMIT {
            return Err(SnapshotError::LabelTooLong {
                key: key.clone(),
                length,
            });
        }
    }
    Ok(labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect())
}

/// Returns the labels of snapshot `name` after an update with `new` under a field mask:
/// `labels` or no mask at all replaces them, `labels.KEY` sets or removes one.
pub(super) fn updated(
    name: &str,
    old: &Labels,
    new: &Labels,
    mask: &[&str],
) -> Result<Labels, SnapshotError> {
    if mask.is_empty() {
        return checked(new.clone());
    }
    let mut labels = old.clone();
    for field in mask {
        if *field == "labels" {
            labels.clone_from(new);
        } else if let Some(key) = field.strip_prefix("labels.") {
            let value = new.get(key).cloned().unwrap_or_default();
            labels.insert(key.to_owned(), value);
        } else {
            return Err(SnapshotError::Field {
                field: (*field).to_owned(),
                name: name.to_owned(),
            });
        }
    }
    checked(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn field_masks() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let old = labels(&[("a", "1"), ("b.c/d", "2")]);
        let table: [(&str, Pairs, &[&str], Pairs); 7] = [
            ("no mask replaces", &[("x", "9")], &[], &[("x", "9")]),
            ("labels replaces", &[("x", "9")], &["labels"], &[("x", "9")]),
            (
                "one is set",
                &[("a", "3"), ("x", "9")],
                &["labels.a"],
                &[("a", "3"), ("b.c/d", "2")],
            ),
            (
                "absent is removed",
                &[("x", "9")],
                &["labels.b.c/d"],
                &[("a", "1")],
            ),
            (
                "empty is removed",
                &[("a", "")],
                &["labels.a"],
                &[("b.c/d", "2")],
            ),
            ("empty is not stored", &[("a", "")], &[], &[]),
            (
                "several paths",
                &[("a", "3")],
                &["labels.a", "labels.b.c/d"],
                &[("a", "3")],
            ),
        ];
        for (why, new, mask, expected) in table {
            let found = updated("s", &old, &labels(new), mask).unwrap();
            assert_eq!(found, labels(expected), "{why}");
        }
        for field in ["name", "kind", "parent", "created_at", "Labels", ""] {
            let error = updated("u", &old, &Labels::new(), &[field]).unwrap_err();
            let expected = format!("cannot update {field:?} field on snapshot \"u\"");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_longest_label() {
        let fits = labels(&[("key", &"v".repeat(LIMIT - 3))]);
        assert_eq!(checked(fits.clone()).unwrap(), fits);
        let error = checked(labels(&[("key", &"v".repeat(LIMIT - 2))])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: key"
        );
    }
}
