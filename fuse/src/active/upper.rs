//! The upper directory and its work directory: what is on disk, and nothing of the view.
//!
//! Everything goes through descriptors of directories and single names, so that no
//! path is ever walked through what an image holds. Half-made things stand in the
//! work directory.

pub(super) mod entry;
mod inode;
mod marks;
mod permissions;
mod thread;
mod work;

pub(super) use inode::Inode;
pub(super) use marks::UpperMarks;
pub(super) use thread::with_umask;
pub(super) use work::Staged;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::layer::directory::xattr;
use crate::layer::override_stat::OverrideName;
use crate::{Error, Result, StatFs};
use work::Work;

/// In which namespace of extended attributes the marks of overlayfs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XattrSpace {
    /// `trusted.overlay.*`, which only root can write.
    #[default]
    Trusted,
    /// `user.overlay.*`.
    User,
}

impl XattrSpace {
    /// Returns the full name of a mark.
    pub(super) fn name(self, mark: &str) -> String {
        let space = match self {
            Self::Trusted => "trusted",
            Self::User => "user",
        };
        format!("{space}.overlay.{mark}")
    }
}

/// What becomes of the owners of what is in an upper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// They are those of the inodes. With [`XattrSpace::User`] those that this process
    /// may not give are left as they are.
    #[default]
    Real,
    /// They are those of the inodes as far as this process may and can give them: nobody
    /// is shown them.
    Attempted,
    /// They are said by `security.fuseoverlayfs.override_stat` of the inodes, with their
    /// modes and types (rule 17), or by the attribute that the root of the upper has for it.
    Privileged,
    /// As `Privileged`, with `user.containers.override_stat`.
    Containers,
}

/// What hides a name of the layers below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// A character device 0:0, as the kernel's overlayfs has it.
    #[default]
    Devices,
    /// A file `.wh.NAME`, which the kernel's overlayfs takes for any other; a device where
    /// that would be longer than names are.
    Files,
}

/// How an upper is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpperOptions {
    /// Where the marks go.
    pub xattrs: XattrSpace,
    /// Whose what is made belongs to.
    pub ownership: Ownership,
    /// Whether nothing is synced: `fsync` returns at once, and a crash may lose all.
    pub volatile: bool,
    /// What hides names.
    pub whiteouts: Whiteouts,
    /// Whether symbolic links are files that hold their targets, where an attribute says what
    /// inodes are: links on disk can have none. Not every reader of such uppers knows that.
    pub links_are_files: bool,
}

/// A directory that takes what is written, with a work directory on the same file system.
#[derive(Debug)]
pub struct Upper {
    label: PathBuf,
    root: OwnedFd,
    /// The attribute that says what inodes are, where one does.
    override_name: Option<OverrideName>,
    pub(super) work: Work,
    pub(super) options: UpperOptions,
    /// Keeps others from using the two directories at the same time.
    _locks: [Lock; 2],
}

impl Upper {
    /// Opens an upper and its work directory, and clears what a crash left in the latter.
    ///
    /// Fails with `EXDEV` where the two are on different file systems, and with `EBUSY`
    /// where another mount uses one of them.
    pub fn open(upper: &Path, work: &Path, options: UpperOptions) -> Result<Self> {
        let root = open_directory(upper)?;
        let work_root = open_directory(work)?;
        let device = |fd: &OwnedFd, path| -> Result<u64> {
            let stat = rustix::fs::fstat(fd).map_err(Error::system("stat", path))?;
            Ok(stat.st_dev)
        };
        if device(&root, upper)? != device(&work_root, work)? {
            return Err(Error::system("use as work directory", work)(Errno::XDEV));
        }
        let locks = [Lock::take(&root, upper)?, Lock::take(&work_root, work)?];
        let names =
            xattr::stored_names(&root).map_err(Error::system("list attributes of", upper))?;
        Ok(Self {
            label: upper.to_owned(),
            override_name: permissions::override_name(options.ownership, &names),
            root,
            work: Work::open(&work_root, work, options)?,
            options,
            _locks: locks,
        })
    }

    /// Returns the root of the upper.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Returns the path that the upper was opened at, for messages.
    pub(super) fn label(&self) -> &Path {
        &self.label
    }

    /// Returns `statfs` of the file system.
    pub(super) fn stat_fs(&self) -> Result<StatFs> {
        let stat = rustix::fs::fstatvfs(&self.root)?;
        let block_size = u32::try_from(stat.f_frsize).unwrap_or(4096);
        Ok(StatFs {
            blocks: stat.f_blocks,
            blocks_free: stat.f_bfree,
            blocks_available: stat.f_bavail,
            files: stat.f_files,
            files_free: stat.f_ffree,
            block_size,
            name_length: u32::try_from(stat.f_namemax).unwrap_or(255),
        })
    }

    /// Gives a copy an attribute of what it is copied from.
    pub(super) fn carry_xattr(&self, inode: &Inode, shown: &[u8], value: &[u8]) -> Result<()> {
        let Some(stored) = self.stored_xattr(shown) else {
            return Ok(());
        };
        match inode.set_stored_xattr(&stored, value, 0) {
            // Without privilege only those of users can be set.
            Err(Error::Refused(Errno::PERM | Errno::OPNOTSUPP))
                if self.options.xattrs == XattrSpace::User =>
            {
                Ok(())
            }
            set => set,
        }
    }

    /// Makes all that was written last.
    pub(super) fn sync(&self) -> Result<()> {
        if self.options.volatile {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&self.root, c".", flags, Mode::empty())?;
        Ok(rustix::fs::syncfs(root)?)
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(Error::system("open", path))
}

/// The lock of a directory. It is given back when this is dropped, and not with the last
/// descriptor of it: a child that is about to run another program has a copy for a moment.
#[derive(Debug)]
struct Lock(OwnedFd);

impl Lock {
    fn take(directory: &OwnedFd, path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, c".", flags, Mode::empty())
            .map_err(Error::system("open", path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(Errno::WOULDBLOCK) => Err(Error::system("use, as another mount does,", path)(
                Errno::BUSY,
            )),
            Err(errno) => Err(Error::system("lock", path)(errno)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(errno) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!("unlock a directory: {errno}");
        }
    }
}
