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
    const ALL: [Self; 6] = [
        Self::Namespaces,
        Self::Images,
        Self::Snapshots,
        Self::Content,
        Self::Leases,
        Self::Counters,
    ];

    fn kind(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Snapshots => "snapshots",
            Self::Content => "content",
            Self::Leases => "leases",
            Self::Counters => "counters",
            Self::Namespaces => "namespaces",
        }
    }

    /// Returns what every key of this kind in the namespace starts with.
    pub(crate) fn prefix(self, namespace: &Namespace) -> Vec<u8> {
        format!("{namespace}\0{}\0", self.kind()).into_bytes()
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

/// Returns the namespace and the kind of the record that a key is of.
pub(super) fn parse(key: &[u8]) -> Option<(Namespace, Table)> {
    let text = std::str::from_utf8(key).ok()?;
    let (namespace, rest) = text.split_once('\0')?;
    let (kind, _) = rest.split_once('\0')?;
    let table = Table::ALL.into_iter().find(|table| table.kind() == kind)?;
    let namespace = match namespace {
        "" => Namespace::shared(),
        name => name.parse().ok()?,
    };
    Some((namespace, table))
}

/// Returns a key as it is shown in messages.
pub(crate) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('\0', "/")
}
