//! The identities of layers: of one layer's uncompressed tar, and of a stack of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, ParseDigestError};

/// The digest of one layer's uncompressed tar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// The identity of a stack of layers, from the lowest up to some layer.
///
/// The chain ID of the lowest layer is its diff ID; that of each further layer is the SHA-256 of
/// the chain ID below, a space, and its diff ID (OCI image spec, `Layer ChainID`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Returns the chain ID of the layer `diff_id` on top of `parent`.
    pub fn on(parent: Option<&Self>, diff_id: &DiffId) -> Self {
        match parent {
            None => Self(diff_id.0.clone()),
            Some(parent) => Self(Digest::sha256(format!("{parent} {diff_id}").as_bytes())),
        }
    }

    /// Returns the chain ID of every layer of a stack that is given lowest first.
    pub fn chain(diff_ids: &[DiffId]) -> Vec<Self> {
        let mut chain: Vec<Self> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            let next = Self::on(chain.last(), diff_id);
            chain.push(next);
        }
        chain
    }
}

macro_rules! digest_newtype {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                text.parse().map(Self)
            }
        }
    };
}

digest_newtype!(DiffId);
digest_newtype!(ChainId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_computed_from_the_lowest_layer_up() {
        let diff_ids: Vec<DiffId> = [b"a", b"b", b"c"]
            .map(|tar| DiffId(Digest::sha256(tar)))
            .into();
        let second = Digest::sha256(format!("{} {}", diff_ids[0], diff_ids[1]).as_bytes());
        let third = Digest::sha256(format!("{second} {}", diff_ids[2]).as_bytes());
        let expected = [
            ChainId(diff_ids[0].0.clone()),
            ChainId(second),
            ChainId(third),
        ];
        assert_eq!(ChainId::chain(&diff_ids), expected);
        assert_eq!(ChainId::chain(&[]), []);
    }

    #[test]
    fn a_chain_above_another_algorithm_is_sha256() {
        let wide = DiffId(super::super::Algorithm::Sha512.digest(b"a"));
        let chain = ChainId::chain(&[wide.clone(), wide.clone()]);
        assert_eq!(chain[0].0, wide.0);
        assert_eq!(
            chain[1].0,
            Digest::sha256(format!("{wide} {wide}").as_bytes())
        );
    }
}
