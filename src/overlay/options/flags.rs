//! What is told to the kernel, or means nothing here.

/// The flags of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a mount option of its own"
)]
pub struct Flags {
    /// Whether other users may enter.
    pub allow_other: bool,
    /// Whether set-user-ID bits and file capabilities have effect.
    pub suid: bool,
    /// Whether device nodes can be opened.
    pub dev: bool,
    /// Whether programs can be run.
    pub exec: bool,
    /// Whether reading changes access times, as far as the kernel is told.
    pub atime: bool,
    /// Whether nothing can be changed, whatever there is to take changes.
    pub read_only: bool,
}

impl Flags {
    /// Returns the flags that hold without being asked for: as fuse-overlayfs has them for
    /// root, which root of a user namespace is too, and for others. The kernel always checks
    /// permissions (`default_permissions`).
    pub fn default_for(is_root: bool) -> Self {
        Self {
            allow_other: is_root,
            suid: is_root,
            dev: false,
            exec: true,
            atime: false,
            read_only: false,
        }
    }

    /// Sets the flag of this name; `false` if it is none.
    pub(super) fn set(&mut self, name: &[u8]) -> bool {
        match name {
            b"allow_other" => self.allow_other = true,
            b"suid" => self.suid = true,
            b"nosuid" => self.suid = false,
            b"dev" => self.dev = true,
            b"nodev" => self.dev = false,
            b"exec" => self.exec = true,
            b"noexec" => self.exec = false,
            b"atime" => self.atime = true,
            b"noatime" => self.atime = false,
            b"ro" => self.read_only = true,
            b"rw" => self.read_only = false,
            // What holds anyhow or makes no difference. `allow_root` lets root in beside the
            // owner, which the kernel cannot: it stays out.
            b"default_permissions"
            | b"allow_root"
            | b"diratime"
            | b"nodiratime"
            | b"splice_read"
            | b"splice_write"
            | b"splice_move"
            | b"kernel_cache"
            | b"max_write" => {}
            _ => return false,
        }
        true
    }
}
