//! Publication: how something half-made becomes something that is there.
//!
//! Whatever the store shows was first made under `tmp/` or in an ingest, and got
//! its name by one rename. [`Staging`] holds the half-made thing and unlinks it
//! when it is dropped unpublished. While it is made, and while anything in `tmp/` is removed,
//! a lock on it (`flock`) keeps others away ([`tmp`]). Contents are synced before the
//! rename. The directory in which the name stands is synced after it, by [`write_file`] at
//! once, for blobs and layers by the caller before the record that names them: one sync
//! for all that a pull has published.

mod remove;
mod rounds;
mod tmp;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

pub(crate) use remove::remove_tree;
pub(crate) use rounds::Rounds;
pub(crate) use tmp::{discard, set_aside, sweep_tmp};

/// What a publication found at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// Nothing: the thing is new.
    New,
    /// The same name was there already and was kept.
    Exists,
}

/// A half-made file or directory, removed on drop unless it was published.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    /// Says that somebody is at it.
    _lock: File,
    is_published: bool,
}

impl Staging {
    /// Makes an empty directory of a name used by no one else, in `tmp`.
    pub(crate) fn directory(tmp: &Path) -> io::Result<Self> {
        let (path, lock) = tmp::make(tmp)?;
        Ok(Self {
            path,
            _lock: lock,
            is_published: false,
        })
    }

    /// Returns where the half-made thing stands.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its name; whoever comes second keeps the first one's.
    ///
    /// The caller has synced what must not be lost inside the directory.
    pub(crate) fn publish(mut self, destination: &Path) -> io::Result<Published> {
        create_private(parent_of(destination))?;
        match renameat_with(CWD, &self.path, CWD, destination, RenameFlags::NOREPLACE) {
            Ok(()) => self.is_published = true,
            Err(Errno::EXIST | Errno::NOTEMPTY) => return Ok(Published::Exists),
            Err(errno) => return Err(errno.into()),
        }
        Ok(Published::New)
    }

    /// Takes the place of a directory, in one step; what was there is removed.
    pub(crate) fn replace(self, destination: &Path) -> io::Result<()> {
        renameat_with(CWD, &self.path, CWD, destination, RenameFlags::EXCHANGE)?;
        sync_directory(parent_of(destination))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_published {
            // What stays is removed by whoever empties `tmp/` next.
            drop(remove_tree(&self.path));
        }
    }
}

/// Syncs a finished file and gives it its name.
///
/// A file that has the name already is replaced by an equal one: names of blobs
/// are digests.
pub(crate) fn file(file: &File, from: &Path, destination: &Path) -> io::Result<()> {
    create_private(parent_of(destination))?;
    file.sync_all()?;
    fs::rename(from, destination)
}

/// Writes a small file so that it has either the old or the new content.
pub(crate) fn write_file(destination: &Path, bytes: &[u8]) -> io::Result<()> {
    create_private(parent_of(destination))?;
    write_with(destination, bytes, |file, from| {
        self::file(file, from, destination)?;
        sync_directory(parent_of(destination))
    })
}

/// As [`write_file`], but leaves it to the caller to bring the file to the disk.
pub(crate) fn write_file_for_now(destination: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(destination, bytes, |_, from| fs::rename(from, destination))
}

/// Writes a file of another name beside the destination and has it published.
fn write_with(
    destination: &Path,
    bytes: &[u8],
    publish: impl FnOnce(&File, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let from = parent_of(destination).join(format!(".{}", unique_name()));
    let write = || {
        let mut file = File::create_new(&from)?;
        file.write_all(bytes)?;
        publish(&file, &from)
    };
    write().inspect_err(|_| drop(fs::remove_file(&from)))
}

/// Creates a directory, and those above it, for the owner alone; durable.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    create_private(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Syncs a directory, so that the names in it survive a crash.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a published directory: its name goes first, in one step, so that a
/// crash leaves the whole of it or garbage in `tmp`.
pub(crate) fn retire_directory(path: &Path, tmp: &Path) -> io::Result<()> {
    discard(&set_aside(path, tmp)?)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let boot = jiff::Timestamp::now().as_nanosecond();
    format!(
        "{}-{boot:x}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_staging_directory_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::directory(root.path()).unwrap();
        fs::write(staging.path().join("data"), b"x").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_second_publication_of_a_name_keeps_the_first() {
        let root = tempfile::tempdir().unwrap();
        let destination = root.path().join("layers/a");
        for (expected, content) in [(Published::New, b"1"), (Published::Exists, b"2")] {
            let staging = Staging::directory(root.path()).unwrap();
            fs::write(staging.path().join("data"), content).unwrap();
            assert_eq!(staging.publish(&destination).unwrap(), expected);
        }
        assert_eq!(fs::read(destination.join("data")).unwrap(), b"1");
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            1,
            "staging is gone"
        );
    }

    #[test]
    fn a_small_file_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("version");
        write_file(&path, b"1\n").unwrap();
        write_file(&path, b"2\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2\n");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
