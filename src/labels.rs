//! The rules of labels, which are the same for whatever has them: what may be one, and
//! what an update under a field mask changes. They are containerd's, and so are the words.
//!
//! A label without a value is none: it is never stored, and setting one removes it.

use thiserror::Error;

use crate::error_class::ErrorClass;
use crate::meta::Labels;

/// The most bytes of a label's key and value together.
const LIMIT: usize = 4096;
/// The label that keeps what it stands on from being swept.
pub(crate) const ROOT: &str = "containerd.io/gc.root";

/// Why labels are not taken.
#[derive(Debug, Error)]
pub enum LabelError {
    /// A label is longer than any may be.
    #[error(
        "label key and value length ({length} bytes) greater than maximum size ({LIMIT} bytes), key: {key}"
    )]
    TooLong {
        /// The label's key.
        key: String,
        /// The bytes of key and value.
        length: usize,
    },
    /// A field mask names something that cannot be updated.
    #[error("cannot update {field:?} field on {kind} {name:?}")]
    Field {
        /// The path in the field mask.
        field: String,
        /// What was to be updated.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

impl LabelError {
    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::InvalidArgument
    }
}

/// Says whether a label is not longer than any may be.
pub(crate) fn fits(key: &str, value: &str) -> bool {
    key.len() + value.len() <= LIMIT
}

/// Returns labels as they are stored.
pub(crate) fn checked(labels: Labels) -> Result<Labels, LabelError> {
    for (key, value) in &labels {
        let length = key.len() + value.len();
        if length > LIMIT {
            return Err(LabelError::TooLong {
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

/// Returns the labels that `name`, a `kind` such as "snapshot", has after an update with
/// `new` under a field mask: no mask at all replaces them, and nothing but labels can be
/// updated.
pub(crate) fn updated(
    kind: &'static str,
    name: &str,
    old: &Labels,
    new: &Labels,
    mask: &[&str],
) -> Result<Labels, LabelError> {
    if mask.is_empty() {
        return checked(new.clone());
    }
    let mut labels = old.clone();
    for field in mask {
        if !update_field(&mut labels, "labels", new, field) {
            return Err(LabelError::Field {
                field: (*field).to_owned(),
                kind,
                name: name.to_owned(),
            });
        }
    }
    checked(labels)
}

/// Makes an update with the field mask that names the given labels.
pub(crate) fn masked<T>(labels: &Labels, update: impl FnOnce(&[&str]) -> T) -> T {
    let mask: Vec<String> = labels.keys().map(|key| format!("labels.{key}")).collect();
    let mask: Vec<&str> = mask.iter().map(String::as_str).collect();
    update(&mask)
}

/// Does what one path of a field mask says to the map called `map`: `MAP` replaces it,
/// `MAP.KEY` takes over one pair. Says whether the path is one of this map; empty values
/// are left for [`checked`] to remove.
pub(crate) fn update_field(old: &mut Labels, map: &str, new: &Labels, field: &str) -> bool {
    match field.strip_prefix(map) {
        Some("") => old.clone_from(new),
        Some(rest) => {
            let Some(key) = rest.strip_prefix('.') else {
                return false;
            };
            let value = new.get(key).cloned().unwrap_or_default();
            old.insert(key.to_owned(), value);
        }
        None => return false,
    }
    true
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
            let found = updated("snapshot", "s", &old, &labels(new), mask).unwrap();
            assert_eq!(found, labels(expected), "{why}");
        }
        for field in [
            "name",
            "kind",
            "parent",
            "created_at",
            "Labels",
            "labelsx",
            "",
        ] {
            let error = updated("snapshot", "u", &old, &Labels::new(), &[field]).unwrap_err();
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
