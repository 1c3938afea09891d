//! Room for the database on a full disk.
//!
//! sled writes when it is opened, be it only to read, and to remove a record takes room before it
//! makes any. So a file beside the database (`meta.reserve`) keeps some, which is given up for the
//! moment of a transaction where there is hardly any other. It is taken back after it, as
//! much of it as there is. All under the lock of the database, so that one process does so
//! at a time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// The bytes that are kept: a few segments of sled's.
const SIZE: u64 = 4 << 20;
/// As little is not worth a file.
const LEAST: u64 = 64 << 10;

/// The file that keeps room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

/// Room for a transaction; dropping it takes back what was given up.
#[derive(Debug)]
pub(super) struct Room {
    reserve: Reserve,
}

impl Reserve {
    /// Names the reserve of the database at `database`.
    pub(super) fn beside(database: &Path) -> Self {
        Self {
            path: database.with_extension("reserve"),
        }
    }

    /// Makes sure that there is room, as far as there is any.
    pub(super) fn lend(self) -> Room {
        match self.free() {
            Ok(free) if free < SIZE => self.give_up(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "ask how full the disk is"),
        }
        Room { reserve: self }
    }

    fn give_up(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, "give up the reserve");
            }
            _ => {}
        }
    }

    /// Returns the bytes that anybody may still write.
    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(self.path.parent().unwrap_or(Path::new("/")))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn take_back(&self) -> io::Result<()> {
        let kept = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other?.len(),
        };
        if kept >= SIZE {
            return Ok(());
        }
        let wanted = SIZE.min(kept + self.free()?);
        if wanted < LEAST || wanted <= kept {
            return Ok(());
        }
        let open = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.path);
        match fallocate(open?, FallocateFlags::empty(), 0, wanted) {
            // A file system that cannot promise room.
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => {
                self.give_up();
                Err(errno.into())
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = self.reserve.take_back() {
            tracing::debug!(%error, "keep a reserve");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_and_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("meta.sled");
        let length = || fs::metadata(dir.path().join("meta.reserve")).map(|m| m.len());
        drop(Reserve::beside(&database).lend());
        assert_eq!(length().unwrap(), SIZE);
        File::options()
            .write(true)
            .open(dir.path().join("meta.reserve"))
            .unwrap()
            .set_len(LEAST)
            .unwrap();
        drop(Reserve::beside(&database).lend());
        assert_eq!(length().unwrap(), SIZE);
        Reserve::beside(&database).give_up();
        Reserve::beside(&database).give_up();
        assert!(length().is_err());
    }
}
