//! What a serving process is told to show, and where.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use mica_fuse::session::{CacheMode, MountOptions, Transport};
use mica_fuse::{Access, Ownership, Upper, UpperOptions, XattrSpace};
use serde::{Deserialize, Serialize};

use super::LayerPlan;
use crate::browse::Browse;
use crate::snapshots::{SnapshotMounts, SnapshotUpper, SnapshotUse};
use crate::store::Store;

/// Threads that serve a store: while some pull or open images, others must be there to answer.
const BROWSE_THREADS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// All that a process needs to know to mount and serve a view.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountPlan {
    /// The root of the store.
    #[serde(with = "crate::json_path")]
    pub store: PathBuf,
    /// The directory of the records of mounts.
    #[serde(with = "crate::json_path")]
    pub records: PathBuf,
    /// The layers, uppermost first.
    pub layers: Vec<LayerPlan>,
    /// Where changes go; `None` for a read-only mount.
    #[serde(default)]
    pub upper: Option<UpperPlan>,
    /// The snapshots whose directories are among the layers.
    #[serde(default)]
    pub uses: Vec<SnapshotUse>,
    /// What of the store is shown, where it is the store and not one tree.
    #[serde(default)]
    pub browse: Option<Browse>,
    /// Where to mount.
    #[serde(with = "crate::json_path")]
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
    /// Whom all files look as if they belonged to, user and group, where that is not as they
    /// are.
    #[serde(default)]
    pub squash: Option<(u32, u32)>,
    /// Whether the mount point may have entries.
    pub allow_nonempty: bool,
    /// How requests come from the kernel.
    #[serde(default)]
    pub transport: TransportMode,
}

/// Directories that take what is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpperPlan {
    /// The upper.
    #[serde(with = "crate::json_path")]
    pub fs: PathBuf,
    /// The work directory, on the same file system.
    #[serde(with = "crate::json_path")]
    pub work: PathBuf,
    /// Where the marks of overlayfs go.
    pub xattrs: XattrMode,
    /// The snapshot whose directories they are, if they are one's.
    pub snapshot: Option<SnapshotUse>,
}

impl UpperPlan {
    /// Opens the directories.
    pub(crate) fn open(&self) -> mica_fuse::Result<Upper> {
        let xattrs = self.xattrs.into();
        let options = UpperOptions {
            xattrs,
            ownership: match xattrs {
                XattrSpace::Trusted => Ownership::Real,
                // Without privilege nothing can have another owner.
                XattrSpace::User => Ownership::Containers,
            },
            links_are_files: true,
            ..UpperOptions::default()
        };
        Upper::open(&self.fs, &self.work, options)
    }
}

impl From<SnapshotUpper> for UpperPlan {
    fn from(upper: SnapshotUpper) -> Self {
        Self {
            fs: upper.fs,
            work: upper.work,
            xattrs: XattrMode::default_for_process(),
            snapshot: Some(upper.owner),
        }
    }
}

/// [`XattrSpace`] as plans and records spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XattrMode {
    /// [`XattrSpace::Trusted`].
    Trusted,
    /// [`XattrSpace::User`].
    User,
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

/// [`Transport`] as plans and records spell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportMode {
    /// [`Transport::Auto`].
    #[default]
    Auto,
    /// [`Transport::Ring`].
    Ring,
    /// [`Transport::Poll`].
    Poll,
    /// [`Transport::Block`].
    Block,
}

impl TransportMode {
    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::Poll => "poll",
            Self::Block => "block",
        }
    }
}

impl From<TransportMode> for Transport {
    fn from(mode: TransportMode) -> Self {
        match mode {
            TransportMode::Auto => Self::Auto,
            TransportMode::Ring => Self::Ring,
            TransportMode::Poll => Self::Poll,
            TransportMode::Block => Self::Block,
        }
    }
}

impl From<Transport> for TransportMode {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Auto => Self::Auto,
            Transport::Ring => Self::Ring,
            Transport::Poll => Self::Poll,
            Transport::Block => Self::Block,
        }
    }
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

impl XattrMode {
    /// Returns what this process can write.
    pub fn default_for_process() -> Self {
        if crate::users::is_machine_root() {
            Self::Trusted
        } else {
            Self::User
        }
    }
}

impl From<XattrMode> for XattrSpace {
    fn from(mode: XattrMode) -> Self {
        match mode {
            XattrMode::Trusted => Self::Trusted,
            XattrMode::User => Self::User,
        }
    }
}

impl MountPlan {
    /// Returns the plan to show what snapshots of a store are made of, in the way that
    /// suits this process.
    pub(crate) fn of_snapshot(
        store: &Store,
        shown: SnapshotMounts,
        mountpoint: PathBuf,
        source: String,
    ) -> Self {
        Self {
            store: store.root().to_owned(),
            records: store.mounts(),
            layers: shown.layers,
            upper: shown.upper.map(UpperPlan::from),
            uses: shown.uses,
            browse: None,
            mountpoint,
            source,
            image: None,
            snapshot: None,
            access: AccessMode::default_for_process(),
            suid_and_dev: None,
            squash: None,
            allow_nonempty: false,
            transport: TransportMode::default(),
        }
    }

    pub(crate) fn options(&self) -> MountOptions {
        let mut options = MountOptions::new(self.source.clone(), self.access.into());
        options.allow_nonempty = self.allow_nonempty;
        options.writable = self.is_writable();
        options.cache = CacheMode::best_for_process();
        options.transport = self.transport.into();
        if let Some(allowed) = self.suid_and_dev {
            options.suid = allowed;
            options.dev = allowed;
        }
        if self.browse.is_some() {
            // A store is its owner's alone, and is not for running programs as others.
            (options.allow_other, options.suid, options.dev) = (false, false, false);
            options.threads = Some(BROWSE_THREADS);
        }
        options
    }

    fn is_writable(&self) -> bool {
        self.upper.is_some() || self.browse.as_ref().is_some_and(|browse| browse.rw)
    }
}
