//! `tmp/`: what is half-made, and what is half-removed.
//!
//! The rule: who makes or removes an entry holds its lock (`flock` on the entry itself),
//! and an entry whose lock is free is garbage. The lock dies with the process, so what a
//! killed one has left is told from what a living one is at without asking anybody. A
//! maker that gets the lock only after a sweeper had it finds its entry gone, and makes
//! another one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{remove_tree, unique_name};

/// How often a sweeper may be faster than a maker; each time it has found an entry in the
/// moment between its creation and its lock.
const TRIES: usize = 100;

/// Makes an empty directory of a name used by no one else, and locks it.
pub(super) fn make(tmp: &Path) -> io::Result<(PathBuf, File)> {
    for _ in 0..TRIES {
        let path = tmp.join(unique_name());
        DirBuilder::new().mode(0o700).create(&path)?;
        if let Some(lock) = lock_new(&path)? {
            return Ok((path, lock));
        }
    }
    Err(io::Error::other("every new entry was swept at once"))
}

/// Moves something into `tmp`, in one step, for [`discard`]; returns where it is.
pub(crate) fn set_aside(path: &Path, tmp: &Path) -> io::Result<PathBuf> {
    let away = tmp.join(unique_name());
    fs::rename(path, &away)?;
    Ok(away)
}

/// Removes an entry of `tmp`, unless somebody is at it.
pub(crate) fn discard(path: &Path) -> io::Result<()> {
    let Some(lock) = present(File::open(path))? else {
        return Ok(());
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    // It may have been published, or swept by another.
    if !is_at(path, &lock)? {
        return Ok(());
    }
    if lock.metadata()?.is_dir() {
        return remove_tree(path);
    }
    present(fs::remove_file(path)).map(drop)
}

/// Removes what nobody makes or removes.
pub(crate) fn sweep_tmp(tmp: &Path) -> io::Result<()> {
    for entry in fs::read_dir(tmp)? {
        discard(&entry?.path())?;
    }
    Ok(())
}

fn lock_new(path: &Path) -> io::Result<Option<File>> {
    let Some(lock) = present(File::open(path))? else {
        return Ok(None);
    };
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(is_at(path, &lock)?.then_some(lock))
}

/// Says whether an open file still has its name.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let Some(named) = present(fs::symlink_metadata(path))? else {
        return Ok(false);
    };
    let open = file.metadata()?;
    Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_is_at_stays() {
        let root = tempfile::tempdir().unwrap();
        let (made, lock) = make(root.path()).unwrap();
        fs::write(made.join("data"), b"1").unwrap();
        let left = root.path().join("left");
        fs::create_dir_all(left.join("by/a/crash")).unwrap();
        fs::write(root.path().join("file"), b"1").unwrap();
        sweep_tmp(root.path()).unwrap();
        assert_eq!(fs::read(made.join("data")).unwrap(), b"1");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        drop(lock);
        sweep_tmp(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn makers_and_sweepers_do_not_meet() {
        let root = tempfile::tempdir().unwrap();
        let tmp = root.path().join("tmp");
        fs::create_dir(&tmp).unwrap();
        std::thread::scope(|scope| {
            let makers: Vec<_> = (0..2)
                .map(|maker| {
                    let (tmp, root) = (&tmp, root.path());
                    scope.spawn(move || {
                        for number in 0..200 {
                            let (path, lock) = make(tmp).unwrap();
                            fs::write(path.join("data"), b"1").unwrap();
                            let published = root.join(format!("{maker}-{number}"));
                            fs::rename(&path, &published).unwrap();
                            drop(lock);
                            discard(&set_aside(&published, tmp).unwrap()).unwrap();
                        }
                    })
                })
                .collect();
            while !makers
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
            {
                sweep_tmp(&tmp).unwrap();
            }
        });
        sweep_tmp(&tmp).unwrap();
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }
}
