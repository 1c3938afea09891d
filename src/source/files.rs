//! The files of a layout: in a directory, or as members of an archive.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::archive::Archive;
use super::error::SourceError;
use super::section::{Place, Section};

/// A set of named files that no name leads out of.
#[derive(Debug)]
pub(super) enum Files {
    Directory {
        path: Arc<PathBuf>,
        directory: OwnedFd,
    },
    Archive(Archive),
}

impl Files {
    /// Opens a directory.
    pub(super) fn directory(path: &Path) -> Result<Self, SourceError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory =
            openat(CWD, path, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))?;
        Ok(Self::Directory {
            path: Arc::new(path.to_owned()),
            directory,
        })
    }

    /// Opens a tar archive and reads the names and places of its members.
    pub(super) fn archive(path: &Path) -> Result<Self, SourceError> {
        Archive::open(path).map(Self::Archive)
    }

    /// Reads the names and places of the members of an archive that is open.
    pub(super) fn of_archive(path: &Path, file: File) -> Result<Self, SourceError> {
        Archive::read(path, file).map(Self::Archive)
    }

    /// Says whether there is a file of this name.
    pub(super) fn has(&self, member: &str) -> Result<bool, SourceError> {
        match self.open(member) {
            Ok(_) => Ok(true),
            Err(SourceError::NoMember { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the path of the directory or archive.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Directory { path, .. } => path,
            Self::Archive(archive) => archive.path(),
        }
    }

    /// Finds a file by its relative path.
    pub(super) fn open(&self, member: &str) -> Result<Section, SourceError> {
        match self {
            Self::Archive(archive) => archive.member(member),
            Self::Directory { path, directory } => open_beneath(path, directory, member),
        }
    }
}

fn open_beneath(
    path: &Arc<PathBuf>,
    directory: &OwnedFd,
    member: &str,
) -> Result<Section, SourceError> {
    // A fifo must not block, and is refused below.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = openat2(directory.as_fd(), member, flags, Mode::empty(), inside);
    let file = match opened {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(no_member(path, member)),
        Err(errno) => return Err(failed("open", &path.join(member), errno)),
    };
    let metadata = file.metadata().map_err(|source| SourceError::Io {
        operation: "stat",
        path: path.join(member),
        source,
    })?;
    if !metadata.is_file() {
        return Err(no_member(path, member));
    }
    Ok(Section {
        path: Arc::clone(path),
        member: member.to_owned(),
        bytes: Place::File(Arc::new(file), 0),
        size: metadata.len(),
    })
}

pub(super) fn no_member(path: &Path, member: &str) -> SourceError {
    SourceError::NoMember {
        path: path.to_owned(),
        member: member.escape_default().to_string(),
    }
}

fn failed(operation: &'static str, path: &Path, errno: Errno) -> SourceError {
    SourceError::Io {
        operation,
        path: path.to_owned(),
        source: errno.into(),
    }
}
