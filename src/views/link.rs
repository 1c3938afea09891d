//! Words between those who use views and the process that serves them: one order a line,
//! one answer to each.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use serde::{Deserialize, Serialize};

use super::{ViewsError, failed, failed_word};
use crate::meta::SnapshotId;

/// The name of the socket in the directory of views.
const SOCKET: &str = "socket";

/// The most bytes of an order or an answer.
const WORD_LIMIT: u64 = 64 << 10;

/// What the process is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// To answer.
    Hello,
    /// To write down what the kernel has not yet passed on of a tree, to refuse changes
    /// from then on, and to let go of the snapshot.
    Freeze(SnapshotId),
    /// To show the tree to nobody who does not use it yet, and to let go of the snapshot.
    Uproot(SnapshotId),
    /// To make room for another process, and to end with the last user.
    Retire,
}

/// What it says to that.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    Done,
    Failed(String),
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Done,
    /// The process has ended, or is about to.
    Nothing,
}

/// A connection to the process.
#[derive(Debug)]
pub(super) struct Link {
    stream: BufReader<UnixStream>,
    directory: PathBuf,
}

impl Link {
    /// Returns a connection; `None` where no process answers.
    pub(super) fn connect(directory: &Path) -> Result<Option<Self>, ViewsError> {
        let connected = in_directory(directory).and_then(|(path, _open)| UnixStream::connect(path));
        let stream = match connected {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed("connect to", directory)(error)),
        };
        let mut link = Self {
            stream: BufReader::new(stream),
            directory: directory.to_owned(),
        };
        Ok((link.ask(Order::Hello)? == Heard::Done).then_some(link))
    }

    /// Returns whether the process has the other end.
    pub(super) fn is_alive(&self) -> bool {
        let mut byte = [0_u8];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(
            recv(self.stream.get_ref().as_fd(), &mut byte, flags),
            Err(Errno::AGAIN)
        )
    }

    /// Gives an order and waits for the answer.
    pub(super) fn ask(&mut self, order: Order) -> Result<Heard, ViewsError> {
        let said = say(self.stream.get_mut(), &order);
        let line = said.and_then(|()| hear(&mut self.stream));
        let line = match line {
            Ok(line) => line,
            Err(error) if is_end(&error) => return Ok(Heard::Nothing),
            Err(error) => {
                return Err(failed("ask the process that serves", &self.directory)(
                    error,
                ));
            }
        };
        if line.is_empty() {
            return Ok(Heard::Nothing);
        }
        match serde_json::from_slice(&line).map_err(failed_word(&self.directory))? {
            Answer::Done => Ok(Heard::Done),
            Answer::Failed(message) => Err(ViewsError::Failed {
                path: self.directory.clone(),
                message,
            }),
        }
    }
}

/// Makes the socket, in place of one that a dead process has left.
pub(super) fn listen(directory: &Path) -> Result<UnixListener, ViewsError> {
    remove(directory)?;
    in_directory(directory)
        .and_then(|(path, _open)| UnixListener::bind(path))
        .map_err(failed("listen in", directory))
}

/// Removes the socket.
pub(super) fn remove(directory: &Path) -> Result<(), ViewsError> {
    let path = directory.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", &path)),
    }
}

/// Writes one line.
pub(super) fn say(stream: &mut UnixStream, word: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads one line; it is empty at the end.
pub(super) fn hear(stream: &mut BufReader<UnixStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(WORD_LIMIT).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

/// Returns a short path of the socket, which is good while the descriptor is open: addresses
/// have 108 bytes.
fn in_directory(directory: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
    Ok((path.into(), open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(200));
        assert!(Link::connect(&deep).unwrap().is_none(), "no directory");
        std::fs::create_dir(&deep).unwrap();
        assert!(Link::connect(&deep).unwrap().is_none(), "no socket");
        let listener = listen(&deep).unwrap();
        let serve = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            for _ in 0..2 {
                hear(&mut stream).unwrap();
                say(stream.get_mut(), &Answer::Done).unwrap();
            }
            hear(&mut stream).unwrap();
        });
        let mut link = Link::connect(&deep).unwrap().unwrap();
        assert!(link.is_alive());
        let order = Order::Freeze(SnapshotId(1));
        assert_eq!(link.ask(order).unwrap(), Heard::Done);
        assert_eq!(link.ask(order).unwrap(), Heard::Nothing);
        serve.join().unwrap();
        assert!(!link.is_alive());
        assert!(
            Link::connect(&deep).unwrap().is_none(),
            "a socket left over"
        );
    }
}
