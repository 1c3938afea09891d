//! A session that outlives the process that serves it.
//!
//! A holder keeps a [`Handover`], above all the descriptor of `/dev/fuse`, and gives it to
//! each process that is to go on. The kernel keeps the connection as long as anybody has
//! the descriptor: requests wait while nobody serves, and those that a process has taken
//! along are sent once more to the next ([`Session::take_over`]). Nobody who uses the mount
//! sees more of it than a pause.
//!
//! Two things make it possible, and bound it. All that a session knows must follow from its
//! layers, as the numbers of nodes of packed layers do; so it is for read-only trees of
//! these. And requests must come by that one descriptor, since the kernel gives up what
//! came by another when it is closed, and sends nothing again that came by a ring.

use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{Device, MountError, MountOptions, Mounted, Session, counting, stop};
use crate::Tree;

/// The first bytes of a message; what follows depends on them.
const MAGIC: &[u8] = b"mica-handover-1\0";

/// A path, the type of a file system and what is before them.
const LONGEST: usize = 3 * 4096;

/// What a process needs to go on with a session.
#[derive(Debug)]
pub struct Handover {
    descriptor: OwnedFd,
    point: PathBuf,
    device: Device,
    file_system_type: String,
}

impl Session {
    /// Returns what another process needs to go on when this one is gone.
    ///
    /// Fails where the mount was not made to be held ([`MountOptions::held`]), or the tree
    /// is not one of packed layers alone.
    pub fn handover(&self) -> Result<Handover, MountError> {
        if !self.options.held || !self.shown.is_derived() {
            return Err(MountError::NotTransferable {
                point: self.mount.point.clone(),
            });
        }
        let failed = MountError::system("duplicate the descriptor of", self.mountpoint());
        Ok(Handover {
            descriptor: rustix::io::fcntl_dupfd_cloexec(&*self.descriptor, 3).map_err(failed)?,
            point: self.mount.point.clone(),
            device: self.mount.device,
            file_system_type: self.mount.file_system_type.clone(),
        })
    }

    /// Goes on with a session whose process is gone, or about to be: [`Session::serve`]
    /// answers what waits, and what was under way there.
    ///
    /// The tree must be of the same layers in the same order.
    pub fn take_over(
        tree: Arc<Tree>,
        handover: Handover,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let point = handover.point;
        if !tree.is_derived() {
            return Err(MountError::NotTransferable { point });
        }
        let stop = stop::Stop::new().map_err(MountError::system("make a pipe", &point))?;
        let statistics = counting(&point)?;
        Ok(Self {
            shown: tree.into(),
            mount: Mounted {
                point,
                device: handover.device,
                file_system_type: handover.file_system_type,
            },
            descriptor: Arc::new(handover.descriptor),
            options: MountOptions {
                writable: false,
                held: true,
                ..options.clone()
            },
            statistics,
            stop,
            rings: None,
            resumes: true,
        })
    }
}

impl Handover {
    /// Returns another one, for another process.
    pub fn try_clone(&self) -> rustix::io::Result<Self> {
        Ok(Self {
            descriptor: rustix::io::fcntl_dupfd_cloexec(&self.descriptor, 3)?,
            point: self.point.clone(),
            device: self.device,
            file_system_type: self.file_system_type.clone(),
        })
    }

    /// Sends it, by a Unix socket that keeps messages apart (`SOCK_SEQPACKET`).
    pub fn send(&self, socket: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let kind = self.file_system_type.as_bytes();
        let length = u32::try_from(kind.len()).map_err(|_| Errno::NAMETOOLONG)?;
        let numbers = [self.device.major, self.device.minor, length].map(u32::to_le_bytes);
        let message = [
            MAGIC,
            numbers.as_flattened(),
            kind,
            self.point.as_os_str().as_bytes(),
        ];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let descriptors = [self.descriptor.as_fd()];
        if !rights.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::NOBUFS);
        }
        sendmsg(
            socket,
            &message.map(IoSlice::new),
            &mut rights,
            SendFlags::NOSIGNAL,
        )
        .map(drop)
    }

    /// Receives one that was sent; `EPROTO` for any other message.
    pub fn receive(socket: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut message = vec![0; LONGEST];
        let received = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut message)],
            &mut rights,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        message.truncate(received.bytes);
        let descriptor = rights.drain().find_map(|right| match right {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        parse(&message)
            .zip(descriptor)
            .map(|((device, file_system_type, point), descriptor)| Self {
                descriptor,
                point,
                device,
                file_system_type,
            })
            .ok_or(Errno::PROTO)
    }
}

/// Takes a message apart.
fn parse(message: &[u8]) -> Option<(Device, String, PathBuf)> {
    let rest = message.strip_prefix(MAGIC)?;
    let (major, rest) = number(rest)?;
    let (minor, rest) = number(rest)?;
    let (length, rest) = number(rest)?;
    let (kind, point) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let kind = String::from_utf8(kind.to_vec()).ok()?;
    let point = PathBuf::from(OsString::from_vec(point.to_vec()));
    point
        .is_absolute()
        .then_some((Device { major, minor }, kind, point))
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_others_are_refused() {
        let good = [MAGIC, &[0, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0], b"fuse/point"].concat();
        let (device, kind, point) = parse(&good).unwrap();
        assert_eq!((device.major, device.minor), (0, 7));
        assert_eq!((kind.as_str(), point), ("fuse", PathBuf::from("/point")));
        for length in 0..=good.len() - b"/point".len() {
            assert!(parse(&good[..length]).is_none(), "{length} bytes");
        }
        let mut long = good.clone();
        long[MAGIC.len() + 8..MAGIC.len() + 12].fill(0xff);
        assert!(parse(&long).is_none(), "a length beyond the end");
        let mut other = good;
        other[0] = b'M';
        assert!(parse(&other).is_none(), "another magic");
    }
}
