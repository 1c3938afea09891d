//! What a layer of a chain is opened from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::oci::DiffId;

/// One layer of a chain, in either of its forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerPlan {
    /// A packed layer of the store.
    Packed(DiffId),
    /// A directory in overlayfs on-disk form.
    Directory(#[serde(with = "crate::json_path")] PathBuf),
}

impl LayerPlan {
    /// Returns the diff ID of a packed layer.
    pub fn diff_id(&self) -> Option<&DiffId> {
        match self {
            Self::Packed(diff_id) => Some(diff_id),
            Self::Directory(_) => None,
        }
    }
}
