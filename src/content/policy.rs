//! Which blobs a namespace may have without bringing them: containerd's content sharing policy.
//!
//! Under `shared`, all that the store has. Under `isolated` only those that a namespace has
//! which is labelled `containerd.io/namespace.shareable=true`; what else is there has to be
//! brought once more, as a proof that it can be had. It is kept once all the same. The
//! policy is the store's, and stands in the file `content/policy`, so that to ask for it
//! takes no transaction; no file means `shared`.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use super::{Blobs, Content, ContentError, failed};
use crate::meta::{ContentRecord, MetaError, Namespace, NamespaceRecord, Transaction};
use crate::oci::Digest;
use crate::publish;

/// The label of a namespace whose blobs all others may have.
const SHAREABLE: &str = "containerd.io/namespace.shareable";

/// What a namespace may have of the blobs that others have brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SharingPolicy {
    /// All of them.
    #[default]
    Shared,
    /// Those of namespaces that are labelled so.
    Isolated,
}

/// A text names no policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no sharing policy; there are shared and isolated")]
pub struct UnknownPolicy(String);

impl Content {
    /// Returns the policy of the store.
    pub fn sharing_policy(&self) -> Result<SharingPolicy, ContentError> {
        let path = self.policy();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(SharingPolicy::default());
            }
            other => other.map_err(failed("read", &path))?,
        };
        let invalid = |error: UnknownPolicy| io::Error::new(io::ErrorKind::InvalidData, error);
        let policy = text.trim().parse().map_err(invalid);
        policy.map_err(failed("read", &path))
    }

    /// Sets the policy of the store. What namespaces have already stays theirs.
    pub fn set_sharing_policy(&self, policy: SharingPolicy) -> Result<(), ContentError> {
        let (path, text) = (self.policy(), format!("{policy}\n"));
        publish::write_file(&path, text.as_bytes()).map_err(failed("write", &path))
    }

    fn policy(&self) -> PathBuf {
        self.blobs.with_file_name("policy")
    }
}

impl Blobs {
    /// Says whether the namespace may have a blob of the store without bringing it.
    pub(crate) fn may_take(&self, digest: &Digest) -> Result<bool, ContentError> {
        if self.content.sharing_policy()? == SharingPolicy::Shared {
            return Ok(true);
        }
        self.meta.read(|transaction| {
            if has(transaction, &self.namespace, digest)? {
                return Ok(true);
            }
            for namespace in transaction.namespaces()? {
                if is_shareable(transaction, &namespace)? && has(transaction, &namespace, digest)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

fn has(
    transaction: &Transaction,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<bool, MetaError> {
    let found: Option<ContentRecord> = transaction.find(namespace, &digest.to_string())?;
    Ok(found.is_some())
}

fn is_shareable(transaction: &Transaction, namespace: &Namespace) -> Result<bool, MetaError> {
    let found: Option<NamespaceRecord> = transaction.find(namespace, namespace.as_str())?;
    Ok(found.is_some_and(|record| record.labels.get(SHAREABLE).is_some_and(|it| it == "true")))
}

impl FromStr for SharingPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "shared" => Ok(Self::Shared),
            "isolated" => Ok(Self::Isolated),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

impl Display for SharingPolicy {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Shared => "shared",
            Self::Isolated => "isolated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_policy_that_nobody_knows_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let content = Store::open(dir.path()).unwrap().content();
        assert_eq!(content.sharing_policy().unwrap(), SharingPolicy::Shared);
        for policy in [SharingPolicy::Isolated, SharingPolicy::Shared] {
            content.set_sharing_policy(policy).unwrap();
            assert_eq!(content.sharing_policy().unwrap(), policy);
        }
        fs::write(content.policy(), "open\n").unwrap();
        let error = content.sharing_policy().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("\"open\""), "{source}");
    }
}
