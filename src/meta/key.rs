//! Keys: `<namespace>\0<kind>\0<name>`, so that one prefix lists one kind.

use serde::{Deserialize, Serialize};

use super::MetaError;

/// A key space of records; blobs and layers are shared between namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace(String);

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl Namespace {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key space of what all namespaces share; none can have its name.
    pub(crate) fn shared() -> Self {
        Self(String::new())
    }
}

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Images,
    Snapshots,
    Content,
    Leases,
    Counters,
}

impl Table {
    /// Returns what every key of this kind in the namespace starts with.
    pub(crate) fn prefix(self, namespace: &Namespace) -> Vec<u8> {
        let kind = match self {
            Self::Images => "images",
            Self::Snapshots => "snapshots",
            Self::Content => "content",
            Self::Leases => "leases",
            Self::Counters => "counters",
        };
        format!("{}\0{kind}\0", namespace.0).into_bytes()
    }

    /// Returns the key of one record.
    pub(crate) fn key(self, namespace: &Namespace, name: &str) -> Result<Vec<u8>, MetaError> {
        if name.is_empty() || name.contains('\0') {
            return Err(MetaError::Name {
                name: name.to_owned(),
            });
        }
        let mut key = self.prefix(namespace);
        key.extend_from_slice(name.as_bytes());
        Ok(key)
    }
}

/// Returns a key as it is shown in messages.
pub(crate) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('\0', "/")
}
