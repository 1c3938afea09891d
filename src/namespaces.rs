//! Namespaces: which there are, and their labels.
//!
//! A namespace need not be made: the first record written in it does that. It can be
//! removed when it has neither images nor blobs nor snapshots; leases go with it.

use std::borrow::Cow;

use thiserror::Error;

use crate::error_class::ErrorClass;
use crate::events::Event;
use crate::filter::{self, Fields, Filter};
use crate::labels::{self, LabelError};
use crate::meta::{
    ContentRecord, ImageRecord, Labels, Meta, MetaError, Namespace, NamespaceNameError,
    NamespaceRecord, SnapshotRecord, Transaction,
};
use crate::store::Store;

/// Why a namespace could not be made, changed or removed; in containerd's words.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// There is no such namespace.
    #[error("namespace {0:?} does not exist")]
    NotFound(String),
    /// There is one already, perhaps because something was written in it.
    #[error("namespace {0:?}: already exists")]
    AlreadyExists(String),
    /// It has records.
    #[error("namespace {name:?} must be empty, but it still has {}", kinds.join(", "))]
    NotEmpty {
        /// The namespace.
        name: String,
        /// The kinds of records.
        kinds: Vec<&'static str>,
    },
    /// No namespace can have this name.
    #[error(transparent)]
    Name(#[from] NamespaceNameError),
    /// The labels are none, or something else than labels was to be updated.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl NamespaceError {
    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) => ErrorClass::NotFound,
            Self::AlreadyExists(_) => ErrorClass::AlreadyExists,
            Self::NotEmpty { .. } => ErrorClass::FailedPrecondition,
            Self::Name(_) => ErrorClass::InvalidArgument,
            Self::Label(error) => error.class(),
            Self::Meta(_) => ErrorClass::Internal,
        }
    }
}

/// The namespaces of a store.
#[derive(Debug, Clone)]
pub struct Namespaces {
    meta: Meta,
}

impl Namespaces {
    /// Returns the namespaces of a store.
    pub fn new(store: &Store) -> Self {
        Self { meta: store.meta() }
    }

    /// Lists the namespaces that a filter matches, sorted by name.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<NamespaceRecord>, NamespaceError> {
        self.meta.read(|transaction| {
            let mut found = Vec::new();
            for namespace in transaction.namespaces()? {
                let record = read(transaction, &namespace)?;
                if filter.matches(&record) {
                    found.push(record);
                }
            }
            Ok(found)
        })
    }

    /// Returns the record of one namespace.
    pub fn info(&self, name: &str) -> Result<NamespaceRecord, NamespaceError> {
        let namespace = name.parse()?;
        self.meta.read(|transaction| find(transaction, &namespace))
    }

    /// Makes a namespace.
    pub fn create(&self, name: &str, labels: Labels) -> Result<NamespaceRecord, NamespaceError> {
        let namespace: Namespace = name.parse()?;
        let labels = labels::checked(labels)?;
        self.meta.write(|transaction| {
            if transaction.has_namespace(&namespace)? {
                return Err(NamespaceError::AlreadyExists(name.to_owned()));
            }
            let name = name.to_owned();
            let record = NamespaceRecord { name, labels };
            put(transaction, &namespace, &record)?;
            let NamespaceRecord { name, labels } = record.clone();
            transaction.publish(&namespace, Event::NamespaceCreate { name, labels });
            Ok(record)
        })
    }

    /// Changes labels: all of them, or those that a field mask names (`labels.KEY`).
    pub fn update(
        &self,
        name: &str,
        labels: &Labels,
        mask: &[&str],
    ) -> Result<NamespaceRecord, NamespaceError> {
        let namespace: Namespace = name.parse()?;
        self.meta.write(|transaction| {
            let mut record = find(transaction, &namespace)?;
            record.labels = labels::updated("namespace", name, &record.labels, labels, mask)?;
            put(transaction, &namespace, &record)?;
            let NamespaceRecord { name, labels } = record.clone();
            transaction.publish(&namespace, Event::NamespaceUpdate { name, labels });
            Ok(record)
        })
    }

    /// Removes an empty namespace.
    pub fn delete(&self, name: &str) -> Result<(), NamespaceError> {
        let namespace: Namespace = name.parse()?;
        self.meta.write(|transaction| {
            find(transaction, &namespace)?;
            let kinds = kinds(transaction, &namespace)?;
            if !kinds.is_empty() {
                let name = name.to_owned();
                return Err(NamespaceError::NotEmpty { name, kinds });
            }
            transaction.clear(&namespace)?;
            let name = name.to_owned();
            transaction.publish(&namespace, Event::NamespaceDelete { name });
            Ok(())
        })
    }
}

impl Fields for NamespaceRecord {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some(self.name.as_str().into()),
            ["labels", key @ ..] => filter::label(&self.labels, key),
            _ => None,
        }
    }
}

fn find(
    transaction: &Transaction,
    namespace: &Namespace,
) -> Result<NamespaceRecord, NamespaceError> {
    if !transaction.has_namespace(namespace)? {
        return Err(NamespaceError::NotFound(namespace.to_string()));
    }
    Ok(read(transaction, namespace)?)
}

/// Returns the record of a namespace, which a store of an earlier release may lack.
fn read(transaction: &Transaction, namespace: &Namespace) -> Result<NamespaceRecord, MetaError> {
    let found = transaction.find(namespace, namespace.as_str())?;
    Ok(found.unwrap_or_else(|| NamespaceRecord {
        name: namespace.to_string(),
        labels: Labels::new(),
    }))
}

fn put(
    transaction: &Transaction,
    namespace: &Namespace,
    record: &NamespaceRecord,
) -> Result<(), MetaError> {
    transaction.put(namespace, namespace.as_str(), record)
}

/// Returns what keeps a namespace from being removed.
fn kinds(transaction: &Transaction, namespace: &Namespace) -> Result<Vec<&'static str>, MetaError> {
    let table = [
        ("images", transaction.has_any::<ImageRecord>(namespace)?),
        ("blobs", transaction.has_any::<ContentRecord>(namespace)?),
        (
            "snapshots",
            transaction.has_any::<SnapshotRecord>(namespace)?,
        ),
    ];
    let present = table.into_iter().filter(|(_, is_there)| *is_there);
    Ok(present.map(|(kind, _)| kind).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::Snapshots;

    fn stage() -> (tempfile::TempDir, Store, Namespaces) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let namespaces = Namespaces::new(&store);
        (dir, store, namespaces)
    }

    fn names(namespaces: &Namespaces, filters: &[&str]) -> Vec<String> {
        let filter = Filter::parse(filters).unwrap();
        let found = namespaces.matching(&filter).unwrap();
        found.into_iter().map(|namespace| namespace.name).collect()
    }

    fn label(key: &str, value: &str) -> Labels {
        Labels::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_first_record_makes_a_namespace_and_the_last_does_not_end_it() {
        let (_dir, store, namespaces) = stage();
        assert!(names(&namespaces, &[]).is_empty());
        let snapshots = Snapshots::new(&store, "other".parse().unwrap());
        snapshots.prepare("key", None, Labels::new()).unwrap();
        assert_eq!(names(&namespaces, &[]), ["other"]);
        let error = namespaces.create("other", Labels::new()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::AlreadyExists);
        let error = namespaces.delete("other").unwrap_err();
        assert_eq!(
            (error.class(), error.to_string().as_str()),
            (
                ErrorClass::FailedPrecondition,
                r#"namespace "other" must be empty, but it still has snapshots"#
            )
        );
        snapshots.remove("key").unwrap();
        assert_eq!(names(&namespaces, &[]), ["other"]);
        namespaces.delete("other").unwrap();
        assert!(names(&namespaces, &[]).is_empty());
        let error = namespaces.delete("other").unwrap_err();
        assert_eq!(error.class(), ErrorClass::NotFound);
    }

    #[test]
    fn namespaces_do_not_see_each_others_snapshots() {
        let (_dir, store, _) = stage();
        let [one, two] = ["a", "a.b"].map(|name| Snapshots::new(&store, name.parse().unwrap()));
        one.prepare("key", None, Labels::new()).unwrap();
        two.prepare("key", None, Labels::new()).unwrap();
        one.remove("key").unwrap();
        assert!(one.list().unwrap().is_empty());
        assert_eq!(two.list().unwrap().len(), 1);
    }

    #[test]
    fn labels_are_kept_filtered_and_updated() {
        let (_dir, _store, namespaces) = stage();
        namespaces.create("a", label("l", "1")).unwrap();
        namespaces.create("b", Labels::new()).unwrap();
        assert_eq!(names(&namespaces, &["labels.l==1"]), ["a"]);
        assert_eq!(names(&namespaces, &["name==b", "labels.l"]), ["a", "b"]);
        let updated = namespaces.update("a", &label("m", "2"), &["labels.m"]);
        assert_eq!(updated.unwrap().labels.len(), 2);
        let updated = namespaces.update("a", &label("m", "2"), &[]).unwrap();
        assert_eq!(updated, namespaces.info("a").unwrap());
        assert_eq!(updated.labels, label("m", "2"));
        let error = namespaces.update("a", &Labels::new(), &["name"]);
        assert_eq!(error.unwrap_err().class(), ErrorClass::InvalidArgument);
        let error = namespaces.update("c", &Labels::new(), &[]).unwrap_err();
        assert_eq!(error.class(), ErrorClass::NotFound);
        let error = namespaces.create("a/b", Labels::new()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::InvalidArgument);
    }
}
