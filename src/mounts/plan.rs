//! What a serving process is told to show, and where.

use std::path::PathBuf;

use mica_fuse::Access;
use mica_fuse::session::MountOptions;
use serde::{Deserialize, Serialize};

use crate::oci::DiffId;

/// All that a process needs to know to mount and serve a view.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountPlan {
    /// The root of the store.
    #[serde(with = "super::path")]
    pub store: PathBuf,
    /// The directory of the records of mounts.
    #[serde(with = "super::path")]
    pub records: PathBuf,
    /// The layers, uppermost first.
    pub layers: Vec<LayerPlan>,
    /// Where to mount.
    #[serde(with = "super::path")]
    pub mountpoint: PathBuf,
    /// The source of the mount in `/proc/mounts`.
    pub source: String,
    /// The image, where an image was named.
    pub image: Option<String>,
    /// The key of the snapshot.
    pub snapshot: Option<String>,
    /// Who checks permissions.
    pub access: AccessMode,
    /// Whether set-user-ID bits have effect and device nodes can be opened; by default
    /// where the kernel checks permissions.
    pub suid_and_dev: Option<bool>,
    /// Whether the mount point may have entries.
    pub allow_nonempty: bool,
}

/// One layer of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerPlan {
    /// A packed layer of the store.
    Packed(DiffId),
    /// A directory in overlayfs on-disk form.
    Directory(#[serde(with = "super::path")] PathBuf),
}

/// [`Access`] as plans and records spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessMode {
    /// [`Access::Owner`].
    Owner,
    /// [`Access::Enforce`].
    Enforce,
}

impl AccessMode {
    /// Returns what suits this process: enforced as root, the owner's otherwise.
    pub fn default_for_process() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Enforce
        } else {
            Self::Owner
        }
    }
}

impl From<AccessMode> for Access {
    fn from(mode: AccessMode) -> Self {
        match mode {
            AccessMode::Owner => Self::Owner,
            AccessMode::Enforce => Self::Enforce,
        }
    }
}

impl MountPlan {
    pub(crate) fn options(&self) -> MountOptions {
        let mut options = MountOptions::new(self.source.clone(), self.access.into());
        options.allow_nonempty = self.allow_nonempty;
        if let Some(allowed) = self.suid_and_dev {
            options.suid = allowed;
            options.dev = allowed;
        }
        options
    }
}
