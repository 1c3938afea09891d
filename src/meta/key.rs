//! Keys: `<namespace>\0<kind>\0<name>`, so that one prefix lists one kind.

use super::{MetaError, Namespace};

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Images,
    Snapshots,
    Content,
    Leases,
    Counters,
    /// One record for each namespace, in the namespace itself.
    Namespaces,
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
            Self::Namespaces => "namespaces",
        };
        format!("{namespace}\0{kind}\0").into_bytes()
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

/// Returns what the keys of all records in a namespace start with.
pub(crate) fn space(namespace: &Namespace) -> Vec<u8> {
    format!("{namespace}\0").into_bytes()
}

/// Returns the namespace of a key; `None` for what all share, or for no key of ours.
pub(crate) fn namespace_of(key: &[u8]) -> Option<Namespace> {
    let name = key.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// Returns a key as it is shown in messages.
pub(crate) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('\0', "/")
}
