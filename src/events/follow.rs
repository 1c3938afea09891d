//! A reader of the spool, which goes on where the writers go on.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::spool::{failed, numbers};
use super::{Envelope, EventsError};
use crate::publish;

/// Reads events in their order, each once.
#[derive(Debug)]
pub struct Follower {
    directory: PathBuf,
    /// Tells that a writer was there.
    watch: OwnedFd,
    /// The number of the file that is read, and the file unless it is still to be made.
    number: u64,
    file: Option<File>,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Follower {
    pub(super) fn from_oldest(directory: &Path) -> Result<Self, EventsError> {
        let mut follower = Self::new(directory)?;
        let first = numbers(directory)?.first().copied();
        follower.number = first.unwrap_or(follower.number);
        Ok(follower)
    }

    pub(super) fn from_now(directory: &Path) -> Result<Self, EventsError> {
        let mut follower = Self::new(directory)?;
        let last = numbers(directory)?.last().copied();
        follower.number = last.unwrap_or(follower.number);
        follower.open()?;
        if let Some(file) = &mut follower.file {
            let end = file.seek(SeekFrom::End(0));
            end.map_err(failed("seek in", directory))?;
        }
        Ok(follower)
    }

    fn new(directory: &Path) -> Result<Self, EventsError> {
        publish::create_private(directory).map_err(failed("create", directory))?;
        let watch = || {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let watch = inotify::init(flags)?;
            let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
            inotify::add_watch(&watch, directory, wanted)?;
            Ok(watch)
        };
        Ok(Self {
            watch: watch().map_err(|errno: Errno| failed("watch", directory)(errno.into()))?,
            directory: directory.to_owned(),
            number: 1,
            file: None,
            rest: Vec::new(),
        })
    }

    /// Returns the events that were published since the last call.
    pub fn read(&mut self) -> Result<Vec<Envelope>, EventsError> {
        let mut envelopes = Vec::new();
        loop {
            self.open()?;
            // A file that was followed by another before it is read to its end is whole.
            let next = numbers(&self.directory)?
                .into_iter()
                .find(|number| *number > self.number);
            self.read_lines(&mut envelopes)?;
            let Some(next) = next else {
                return Ok(envelopes);
            };
            if self.file.is_none() || next != self.number + 1 {
                tracing::warn!("events were lost: the reader was too slow");
            }
            (self.number, self.file) = (next, None);
            self.rest.clear();
        }
    }

    /// Waits until more may have been published, or the time is over.
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<(), EventsError> {
        let timeout = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut polled = [PollFd::new(&self.watch, PollFlags::IN)];
        let mut wait = || -> io::Result<()> {
            match poll(&mut polled, timeout.as_ref()) {
                // A signal; the caller will look and wait again.
                Err(Errno::INTR) => return Ok(()),
                other => other?,
            };
            let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
            loop {
                match rustix::io::read(&self.watch, &mut buffer[..]) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(errno) => return Err(errno.into()),
                }
            }
        };
        wait().map_err(failed("watch", &self.directory))
    }

    fn open(&mut self) -> Result<(), EventsError> {
        if self.file.is_none() {
            let path = self.directory.join(self.number.to_string());
            self.file = match File::open(&path) {
                // Nothing was published yet, or it is gone already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some(other.map_err(failed("open", &path))?),
            };
        }
        Ok(())
    }

    fn read_lines(&mut self, envelopes: &mut Vec<Envelope>) -> Result<(), EventsError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let read = file.read_to_end(&mut self.rest);
        read.map_err(failed("read", &self.directory))?;
        let end = self.rest.iter().rposition(|byte| *byte == b'\n');
        let rest = self.rest.split_off(end.map_or(0, |end| end + 1));
        let whole = std::mem::replace(&mut self.rest, rest);
        for line in whole.split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(envelope) => envelopes.push(envelope),
                Err(_) if line.is_empty() => {}
                // Torn by a crash, or of a later release.
                Err(error) => tracing::debug!(%error, "skipping an event"),
            }
        }
        Ok(())
    }
}
