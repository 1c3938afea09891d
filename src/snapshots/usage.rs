//! What a tree takes on the disk.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::meta::Usage;

/// A walk of a tree that may change meanwhile: what has vanished is not counted.
#[derive(Debug)]
struct Walk {
    top: OwnedFd,
    /// Directories not read yet, by the names that lead to them.
    open: Vec<Vec<CString>>,
    /// Files with several names that were counted: device and inode.
    linked: HashSet<(u64, u64)>,
    usage: Usage,
}

/// Returns the blocks and the inodes of all that is in a directory, and of itself.
///
/// Links are not followed, and a file counts once however many names it has.
pub(crate) fn measure(path: &Path) -> Result<Usage, Errno> {
    let top = open(CWD, path)?;
    let mut walk = Walk {
        open: vec![Vec::new()],
        linked: HashSet::new(),
        usage: Usage::default(),
        top,
    };
    walk.count(&fstat(&walk.top)?);
    while let Some(names) = walk.open.pop() {
        match walk.read(&names) {
            Ok(()) => {}
            // NOENT: removed meanwhile; NOTDIR, LOOP: something else has its name now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !names.is_empty() => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(walk.usage)
}

impl Walk {
    fn read(&mut self, names: &[CString]) -> Result<(), Errno> {
        // One name at a time: a path may be longer than the kernel takes.
        let mut directory = rustix::io::fcntl_dupfd_cloexec(&self.top, 0)?;
        for name in names {
            directory = open(&directory, name.as_c_str())?;
        }
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                self.visit(&directory, name, names)?;
            }
        }
        Ok(())
    }

    fn visit(&mut self, directory: &OwnedFd, name: &CStr, above: &[CString]) -> Result<(), Errno> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        self.count(&stat);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let mut names = above.to_vec();
            names.push(name.to_owned());
            self.open.push(names);
        }
        Ok(())
    }

    fn count(&mut self, stat: &Stat) {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink == 1 || self.linked.insert((stat.st_dev, stat.st_ino)) {
            self.usage.inodes += 1;
            self.usage.size += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
    }
}

fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn blocks_and_inodes_count_once() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("file"), vec![1; 1 << 20]).unwrap();
        fs::create_dir(path("directory")).unwrap();
        fs::hard_link(path("file"), path("directory/again")).unwrap();
        let sparse = fs::File::create(path("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        symlink("/", path("link")).unwrap();
        let blocks: u64 = ["", "file", "directory", "sparse", "link"]
            .map(|name| fs::symlink_metadata(path(name)).unwrap().blocks())
            .iter()
            .sum();
        let expected = Usage {
            size: blocks * 512,
            inodes: 5,
        };
        assert_eq!(measure(root.path()).unwrap(), expected);
        assert!(expected.size < 2 << 20);
        assert_eq!(measure(&path("absent")), Err(Errno::NOENT));
    }
}
