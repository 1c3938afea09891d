//! The work directory: what is half made, and the whiteout that is linked into place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tracing::warn;

use super::{UpperOptions, Whiteouts, entry};
use crate::view::LONGEST_NAME;
use crate::{Error, Result};

/// The directory in the work directory that is used, as the kernel's overlayfs does.
const INNER: &str = "work";
/// The whiteout that all others are links of.
const WHITEOUT: &[u8] = b"whiteout";
/// How deep a leftover of a crash may be nested.
const DEEPEST: u32 = 256;

/// The work directory of an upper.
#[derive(Debug)]
pub(in crate::active) struct Work {
    directory: OwnedFd,
    counter: AtomicU64,
    /// Held while the shared whiteout is made.
    whiteout: Mutex<()>,
    whiteouts: Whiteouts,
}

/// A name in the work directory, taken away when this is dropped, unless it was put
/// into place.
#[derive(Debug)]
pub(in crate::active) struct Staged<'w> {
    work: &'w Work,
    name: Vec<u8>,
    is_placed: bool,
}

impl Work {
    /// Opens `work` below the work directory, and clears it.
    pub(super) fn open(above: &OwnedFd, path: &Path, options: UpperOptions) -> Result<Self> {
        let failed = |errno| Error::system("prepare work directory", path)(errno);
        match rustix::fs::mkdirat(above, INNER, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(above, INNER, flags, Mode::empty()).map_err(failed)?;
        // The kernel's overlayfs leaves it with mode 0.
        rustix::fs::chmodat(above, INNER, Mode::RWXU, AtFlags::empty()).map_err(failed)?;
        clear(directory.as_fd(), DEEPEST).map_err(failed)?;
        Ok(Self {
            directory,
            counter: AtomicU64::new(1),
            whiteout: Mutex::default(),
            whiteouts: options.whiteouts,
        })
    }

    /// Returns the directory.
    pub(in crate::active) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Makes something under a name that nothing has.
    pub(in crate::active) fn stage<T>(
        &self,
        make: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T>,
    ) -> Result<(Staged<'_>, T)> {
        let name = format!("#{:x}", self.counter.fetch_add(1, Ordering::Relaxed)).into_bytes();
        // Before it is made, so that what a failure leaves of it is taken away too.
        let staged = Staged {
            work: self,
            name,
            is_placed: false,
        };
        let result = make(self.fd(), &staged.name)?;
        Ok((staged, result))
    }

    /// Returns whether whiteouts are files.
    pub(in crate::active) fn makes_files(&self) -> bool {
        self.whiteouts == Whiteouts::Files
    }

    /// Puts a whiteout where nothing is.
    pub(in crate::active) fn hide(&self, directory: impl AsFd, name: &[u8]) -> Result<()> {
        match self.whiteout_file(name) {
            Some(file) => make_whiteout_file(directory, &file),
            None => self.link_whiteout(directory, name),
        }
    }

    /// Puts a whiteout in the place of what has the name.
    pub(in crate::active) fn hide_instead(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        is_directory: bool,
    ) -> Result<()> {
        match (self.whiteout_file(name), is_directory) {
            (Some(file), true) => {
                // Until the directory goes, it is opaque; nothing shows in it anyway.
                make_whiteout_file(directory, &file)?;
                self.take_away(directory, name)
            }
            (Some(file), false) => {
                make_whiteout_file(directory, &file)?;
                entry::unlink(directory, name)
            }
            // What is left of it in the work directory goes with its whiteouts.
            (None, true) => self.stage_whiteout()?.swap(directory, name),
            (None, false) => self.stage_whiteout()?.place(directory, name),
        }
    }

    /// Takes a directory away with all that is in it.
    pub(in crate::active) fn take_away(&self, directory: &OwnedFd, name: &[u8]) -> Result<()> {
        let away = self.stage(|work, other| {
            entry::rename((directory, name), (work, other), RenameFlags::empty())
        });
        away.map(drop)
    }

    /// Returns what a whiteout is called that is a file, where there are such.
    fn whiteout_file(&self, name: &[u8]) -> Option<Vec<u8>> {
        let file = self.makes_files().then(|| [b".wh.", name].concat());
        file.filter(|file| file.len() <= LONGEST_NAME)
    }

    fn link_whiteout(&self, to: impl AsFd, name: &[u8]) -> Result<()> {
        let link = || rustix::fs::linkat(self.fd(), WHITEOUT, &to, name, AtFlags::empty());
        match link() {
            Err(Errno::NOENT | Errno::MLINK) => {
                let _guard = self.whiteout.lock();
                self.renew_whiteout()?;
                Ok(link()?)
            }
            linked => Ok(linked?),
        }
    }

    fn stage_whiteout(&self) -> Result<Staged<'_>> {
        let (staged, ()) = self.stage(|directory, name| self.link_whiteout(directory, name))?;
        Ok(staged)
    }

    fn renew_whiteout(&self) -> Result<()> {
        match rustix::fs::unlinkat(self.fd(), WHITEOUT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mode = Mode::empty();
        Ok(rustix::fs::mknodat(
            self.fd(),
            WHITEOUT,
            FileType::CharacterDevice,
            mode,
            0,
        )?)
    }
}

impl Staged<'_> {
    /// Puts it into place over whatever is there that is no directory.
    pub(in crate::active) fn place(mut self, to: impl AsFd, name: &[u8]) -> Result<()> {
        rustix::fs::renameat(self.work.fd(), &self.name[..], to, name)?;
        self.is_placed = true;
        Ok(())
    }

    /// Puts it into place where nothing is.
    pub(in crate::active) fn place_new(mut self, to: impl AsFd, name: &[u8]) -> Result<()> {
        self.rename(to, name, RenameFlags::NOREPLACE)?;
        self.is_placed = true;
        Ok(())
    }

    /// Puts it into the place of something else, of which it takes the place here: that
    /// is then cleared away, a directory with all that is in it.
    pub(in crate::active) fn swap(self, to: impl AsFd, name: &[u8]) -> Result<()> {
        self.rename(to, name, RenameFlags::EXCHANGE)
    }

    fn rename(&self, to: impl AsFd, name: &[u8], flags: RenameFlags) -> Result<()> {
        Ok(rustix::fs::renameat_with(
            self.work.fd(),
            &self.name[..],
            to,
            name,
            flags,
        )?)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if self.is_placed {
            return;
        }
        if let Err(errno) = remove(self.work.fd(), &self.name, DEEPEST) {
            warn!("clear the work directory: {errno}");
        }
    }
}

/// Makes a whiteout that is a file; one that a crash has left will do.
fn make_whiteout_file(directory: impl AsFd, name: &[u8]) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes everything in a directory.
fn clear(directory: BorrowedFd<'_>, depth: u32) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(open)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names
        .iter()
        .try_for_each(|name| remove(directory, name, depth))
}

fn remove(directory: BorrowedFd<'_>, name: &[u8], depth: u32) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // EPERM: what POSIX says of a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY) => {}
        removed => return removed,
    }
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    if let Err(Errno::ACCESS) = clear(inner.as_fd(), depth) {
        rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
    }
    clear(inner.as_fd(), depth)?;
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
}
