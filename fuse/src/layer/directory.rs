//! Directory layers: trees in overlayfs on-disk form, read through descriptors.
//!
//! A layer is resolved once, when it is opened. After that every path is walked
//! beneath its root without following a link or leaving its file system, and where
//! the kernel allows it on a private copy of the mount, so that nothing mounted
//! later, this very view included, is ever entered.

mod below;
mod listing;
mod open;
mod shown;
pub(crate) mod xattr;

pub use below::DirectoryMarks;
pub(crate) use listing::Listing;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::marks::{self, Redirect};
use super::override_stat::OverrideName;
use crate::{Attr, Error, FileType, Ino, Result, Timestamp};
pub(crate) use open::split;
use open::{Opened, at, walk};
pub(crate) use shown::target_in_file;
use xattr::{BadRedirect, Marks};

/// The longest target of a symbolic link, in bytes (`PATH_MAX` without the NUL).
const LONGEST_TARGET: usize = 4095;

/// A directory in overlayfs on-disk form.
#[derive(Debug)]
pub struct DirectoryLayer {
    label: String,
    root: OwnedFd,
    /// Nothing can be mounted in the tree that `root` sees.
    is_private: bool,
    /// `st_dev` of all files, if listings give the numbers that `stat` gives.
    listed_device: Option<u64>,
    /// The attribute that says what regular files and directories are, where one does.
    override_name: Option<OverrideName>,
    /// The directories that were used last.
    opened: Opened,
}

/// What the file system says of an entry, and which inode it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealAttr {
    /// `st_dev`, major and minor.
    pub(crate) device: u64,
    /// The attributes; `ino` is the file system's own.
    pub(crate) attr: Attr,
}

impl RealAttr {
    /// Returns the attributes of a name in a directory.
    pub(crate) fn at(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        stat(directory, name, flags)
    }

    /// Returns the attributes of what is open.
    pub(crate) fn of(inode: impl AsFd) -> rustix::io::Result<Self> {
        stat(inode, c"", AtFlags::EMPTY_PATH)
    }

    /// Returns the type of the entry.
    pub(crate) fn file_type(&self) -> FileType {
        FileType::of_mode(self.attr.mode).unwrap_or(FileType::Regular)
    }
}

impl DirectoryLayer {
    /// Opens the layer at `path`; links in `path` itself are followed, now.
    pub fn open(path: &Path) -> Result<Self> {
        let (root, is_private) = match rustix::mount::open_tree(
            CWD,
            path,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        ) {
            Ok(root) => (root, true),
            // Not allowed to copy a mount, or it holds mounts that must stay covered.
            Err(Errno::PERM | Errno::INVAL | Errno::NOSYS) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let root = rustix::fs::open(path, flags, Mode::empty());
                (root.map_err(Error::system("open layer", path))?, false)
            }
            Err(errno) => return Err(Error::system("open layer", path)(errno)),
        };
        let names =
            xattr::stored_names(&root).map_err(Error::system("list attributes of", path))?;
        let layer = Self {
            label: path.display().to_string(),
            listed_device: listed_device(&root, is_private).map_err(Error::system("stat", path))?,
            root,
            is_private,
            override_name: OverrideName::of_root(&names),
            opened: Opened::default(),
        };
        match layer.attr(b"")?.file_type() {
            FileType::Directory => Ok(layer),
            _ => Err(Error::system("open layer", path)(Errno::NOTDIR)),
        }
    }

    /// Returns the path that the layer was opened at.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the attributes of the entry at a path relative to the root.
    pub(crate) fn attr(&self, path: &[u8]) -> Result<RealAttr> {
        let (above, name) = split(path);
        self.attr_at(&*self.open_directory(above)?, name, path)
    }

    /// Returns the attributes of one name of a directory of this layer.
    pub(crate) fn attr_in(&self, directory: &OwnedFd, name: &[u8]) -> Result<RealAttr> {
        self.attr_at(directory, name, name)
    }

    fn attr_at(&self, directory: &OwnedFd, name: &[u8], path: &[u8]) -> Result<RealAttr> {
        if self.is_private {
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            let real = stat(directory, at(name), flags).map_err(self.failed("stat", path))?;
            if !self.may_differ(&real) {
                return Ok(real);
            }
        }
        let inode = walk(directory, name, OFlags::PATH).map_err(self.failed("open", path))?;
        let real = stat(&inode, c"", AtFlags::EMPTY_PATH).map_err(self.failed("stat", path))?;
        self.shown(real, &inode, path)
    }

    /// Returns the names of the directory at a path, its marks taken into account.
    pub(crate) fn list(&self, path: &[u8]) -> Result<Listing> {
        let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let marks = self.marks(&directory, path)?;
        let entries = listing::raw_entries(&directory, marks.opacity);
        let mut entries = entries.map_err(self.failed("list", path))?;
        self.correct_types(&directory, &mut entries)?;
        let listing = Listing::of_entries(entries, marks.opacity);
        let mut listing = listing.map_err(self.failed("list", path))?;
        listing.device = self.listed_device;
        if !listing.opaque {
            listing.redirect = self.redirect(&marks, path)?;
        }
        Ok(listing)
    }

    /// Returns whether the layers below have the directory at a path elsewhere.
    pub(crate) fn has_redirect(&self, path: &[u8]) -> Result<bool> {
        let (above, name) = split(path);
        let above = self.open_directory(above)?;
        if let Some(names) = self.stored_names_at(&above, name)
            && !xattr::may_have_marks(&names.map_err(self.failed("list attributes of", path))?)
        {
            return Ok(false);
        }
        let directory = walk(&*above, name, OFlags::PATH | OFlags::DIRECTORY);
        let directory = directory.map_err(self.failed("open", path))?;
        Ok(self.marks(&directory, path)?.has_redirect())
    }

    /// Opens the regular file at a path for reading.
    pub(crate) fn open_file(&self, path: &[u8]) -> Result<Contents> {
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let marks = self.marks(&file, path)?;
        if marks.metacopy {
            let size = rustix::fs::fstat(&file).map_err(self.failed("stat", path))?;
            Ok(Contents::Below {
                size: u64::try_from(size.st_size).unwrap_or_default(),
                redirect: self.redirect(&marks, path)?,
            })
        } else {
            Ok(Contents::Here(file))
        }
    }

    /// Returns the target of the symbolic link at a path.
    pub(crate) fn link_target(&self, path: &[u8]) -> Result<Vec<u8>> {
        let link = self.open_at(path, OFlags::PATH)?;
        if self.override_name.is_some() {
            let real = stat(&link, c"", AtFlags::EMPTY_PATH).map_err(self.failed("stat", path))?;
            if real.file_type() == FileType::Regular {
                return self.target_in_file(path);
            }
        }
        let target = rustix::fs::readlinkat(link, c"", Vec::new());
        Ok(target.map_err(self.failed("read link", path))?.into_bytes())
    }

    /// Returns the value of the attribute that is shown as `name`, where there is one.
    pub(crate) fn xattr(&self, path: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(name) = self.stored_xattr(name) else {
            return Ok(None);
        };
        let Some(name) = marks::stored_xattr(&name) else {
            return Ok(None);
        };
        let (above, entry) = split(path);
        let above = self.open_directory(above)?;
        let value = if let Some(value) = self.stored_value_at(&above, entry, &name) {
            value
        } else {
            let entry = walk(&*above, entry, OFlags::PATH);
            xattr::stored_value(&entry.map_err(self.failed("open", path))?, &name)
        };
        value.map_err(self.failed("read attribute of", path))
    }

    /// Returns the names of the shown attributes.
    pub(crate) fn xattr_names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (above, entry) = split(path);
        let above = self.open_directory(above)?;
        let names = if let Some(names) = self.stored_names_at(&above, entry) {
            names
        } else {
            let entry = walk(&*above, entry, OFlags::PATH);
            xattr::stored_names(&entry.map_err(self.failed("open", path))?)
        };
        let names = names.map_err(self.failed("list attributes of", path))?;
        Ok(xattr::shown_names(&names)
            .iter()
            .filter_map(|name| self.shown_xattr(name))
            .map(std::borrow::Cow::into_owned)
            .collect())
    }

    /// Returns the blocks of the file system below the layer: its `st_dev`, block
    /// size, and used blocks and inodes.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let device = self.attr(b"")?.device;
        let statfs = rustix::fs::fstatvfs(&self.root).map_err(self.failed("statfs", b""))?;
        Ok(Usage {
            device,
            bytes: statfs
                .f_blocks
                .saturating_sub(statfs.f_bfree)
                .saturating_mul(statfs.f_frsize),
            inodes: statfs.f_files.saturating_sub(statfs.f_ffree),
        })
    }

    /// Returns the error for what is wrong with the entry at a path.
    pub(crate) fn corrupt(&self, path: &[u8], reason: &str) -> Error {
        Error::Corrupt {
            layer: self.label.clone(),
            reason: format!("{reason}: /{}", path.escape_ascii()),
        }
    }

    fn marks(&self, inode: &OwnedFd, path: &[u8]) -> Result<Marks> {
        Marks::read(inode).map_err(self.failed("read marks of", path))
    }

    fn redirect(&self, marks: &Marks, path: &[u8]) -> Result<Option<Redirect>> {
        marks.redirect().map_err(|BadRedirect(value)| {
            let reason = format!("redirect to {} makes no sense", value.escape_ascii());
            self.corrupt(path, &reason)
        })
    }

    /// Returns the error of a call. What is asked for was found in a listing: it has vanished
    /// where the call does not find it, and that must not look as if it had never been.
    fn failed(&self, operation: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
        move |errno| match errno {
            Errno::NOENT => self.corrupt(path, "the layer has lost"),
            errno => Error::system(operation, Path::new(&self.label).join(path_of(path)))(errno),
        }
    }
}

/// Where the contents of a regular file are.
#[derive(Debug)]
pub(crate) enum Contents {
    /// In the file, open for reading.
    Here(OwnedFd),
    /// In the next layer below that has data, maybe elsewhere.
    Below {
        /// Bytes of the file here, and so of its contents.
        size: u64,
        /// Where it is, if not at the same place.
        redirect: Option<Redirect>,
    },
}

/// What the file system below a layer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// `st_dev`.
    pub(crate) device: u64,
    /// Bytes in use.
    pub(crate) bytes: u64,
    /// Inodes in use.
    pub(crate) inodes: u64,
}

/// Returns the `st_dev` of a file system of which all files have the same, and in listings
/// the numbers that `stat` gives, as far as nothing is mounted over them.
fn listed_device(root: &OwnedFd, is_private: bool) -> rustix::io::Result<Option<u64>> {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const TMPFS: u64 = 0x0102_1994;
    let kind = u64::try_from(rustix::fs::fstatfs(root)?.f_type).unwrap_or_default();
    if !is_private || ![EXT4, XFS, TMPFS].contains(&kind) {
        return Ok(None);
    }
    Ok(Some(stat(root, c"", AtFlags::EMPTY_PATH)?.device))
}

fn stat(
    base: impl AsFd,
    name: impl rustix::path::Arg,
    flags: AtFlags,
) -> rustix::io::Result<RealAttr> {
    let statx = rustix::fs::statx(base, name, flags, StatxFlags::BASIC_STATS)?;
    Ok(RealAttr {
        device: u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor),
        attr: attr_of(&statx),
    })
}

fn attr_of(statx: &Statx) -> Attr {
    let time = |of: rustix::fs::StatxTimestamp| Timestamp {
        seconds: of.tv_sec,
        nanoseconds: of.tv_nsec,
    };
    let (major, minor) = (statx.stx_rdev_major, statx.stx_rdev_minor);
    Attr {
        ino: Ino(statx.stx_ino),
        size: statx.stx_size,
        blocks: statx.stx_blocks,
        atime: time(statx.stx_atime),
        mtime: time(statx.stx_mtime),
        ctime: time(statx.stx_ctime),
        mode: u32::from(statx.stx_mode),
        nlink: statx.stx_nlink,
        uid: statx.stx_uid,
        gid: statx.stx_gid,
        rdev: (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12),
    }
}

fn path_of(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(path))
}
