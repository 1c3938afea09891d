//! Removal of a tree that somebody else has made: of any depth and with any modes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::unique_name;

/// Removes a directory with all that is in it.
///
/// A directory that is not empty has its subdirectories moved up to the top first, so
/// that neither the length of a path nor the number of descriptors is a limit.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    grant(CWD, path)?;
    let top = open(CWD, path)?;
    loop {
        let names = list(&top)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if !remove_leaf(&top, &name)? {
                empty(&top, &name)?;
                unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// Empties a directory in `top`: what is in it is removed, or moved to `top`.
fn empty(top: &OwnedFd, name: &CStr) -> io::Result<()> {
    grant(top, name)?;
    let directory = open(top, name)?;
    for name in list(&directory)? {
        if !remove_leaf(&directory, &name)? {
            // The owner may move only a directory that he may write to.
            grant(&directory, &*name)?;
            let moved = unique_name();
            renameat_with(&directory, &name, top, &*moved, RenameFlags::NOREPLACE)?;
        }
    }
    Ok(())
}

/// Removes what is no directory, or an empty one; `false` if there is something in it.
fn remove_leaf(directory: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
    }
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets the owner do everything in a directory.
fn grant(parent: impl rustix::fd::AsFd, name: impl rustix::path::Arg) -> io::Result<()> {
    match chmodat(parent, name, Mode::RWXU, AtFlags::empty()) {
        // Somebody else's; the permissions may do as they are.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn open(parent: impl rustix::fd::AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

fn list(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let directory: BorrowedFd<'_> = rustix::fd::AsFd::as_fd(directory);
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn neither_modes_nor_depth_nor_links_keep_a_tree() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::write(&outside, b"").unwrap();
        let tree = root.path().join("tree");
        fs::create_dir_all(tree.join("closed/inner")).unwrap();
        symlink(&outside, tree.join("closed/link")).unwrap();
        symlink(root.path(), tree.join("up")).unwrap();
        for path in ["closed/inner", "closed", ""] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(0o000)).unwrap();
        }
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o700)).unwrap();
        let mut directory = open(CWD, &tree).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&directory, "deep", Mode::RWXU).unwrap();
            directory = open(&directory, "deep").unwrap();
        }
        drop(directory);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.exists());
    }
}
