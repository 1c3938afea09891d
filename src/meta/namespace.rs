//! Namespaces: key spaces of records, and the names that they may have.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most characters of a name.
const MAX_LENGTH: usize = 76;

/// A key space of records; blobs and layers are shared between namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Namespace(String);

/// A text cannot be the name of a namespace; in containerd's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NamespaceNameError {
    /// There is no name.
    #[error("identifier must not be empty")]
    Empty,
    /// The name is too long.
    #[error("identifier {0:?} greater than maximum length ({MAX_LENGTH} characters)")]
    TooLong(String),
    /// There is a character that cannot be where it is.
    #[error("identifier {0:?} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$")]
    Characters(String),
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

    /// Says whether this is the key space of what all share.
    pub(super) fn is_shared(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for Namespace {
    type Err = NamespaceNameError;

    fn from_str(name: &str) -> Result<Self, NamespaceNameError> {
        if name.is_empty() {
            return Err(NamespaceNameError::Empty);
        }
        if name.len() > MAX_LENGTH {
            return Err(NamespaceNameError::TooLong(name.to_owned()));
        }
        let is_part =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !name.split(['.', '_', '-']).all(is_part) {
            return Err(NamespaceNameError::Characters(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }
}

impl Display for Namespace {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let table = [
            ("default", true),
            ("k8s.io", true),
            ("a-b_c.D9", true),
            (&"a".repeat(76), true),
            (&"a".repeat(77), false),
            ("", false),
            (".a", false),
            ("a-", false),
            ("a..b", false),
            ("a/b", false),
            ("a b", false),
            ("é", false),
            ("a\0b", false),
        ];
        for (name, is_one) in table {
            assert_eq!(name.parse::<Namespace>().is_ok(), is_one, "{name:?}");
        }
    }
}
