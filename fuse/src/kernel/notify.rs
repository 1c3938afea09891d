//! What the kernel is told without having asked.

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use rustix::io::Errno;
use tracing::debug;
use zerocopy::IntoBytes;

use super::abi;
use crate::NodeId;

/// `FUSE_NOTIFY_INVAL_INODE` of `enum fuse_notify_code`.
const INVAL_INODE: i32 = 2;

/// `FUSE_NOTIFY_RESEND` of `enum fuse_notify_code`.
const RESEND: i32 = 7;

/// Has the kernel send again what was taken from its descriptors and not answered. Linux
/// knows this from 6.9 on.
pub(crate) fn send_again(session: BorrowedFd<'_>) -> Result<(), Errno> {
    let head = abi::OutHeader {
        len: u32::try_from(size_of::<abi::OutHeader>()).unwrap_or(u32::MAX),
        error: RESEND,
        unique: 0,
    };
    rustix::io::write(session, head.as_bytes()).map(drop)
}

/// The way to tell the kernel of one session. It does not keep the session.
#[derive(Clone, Debug)]
pub(crate) struct Notifier {
    session: Weak<OwnedFd>,
}

impl Notifier {
    pub(crate) fn of(session: &Arc<OwnedFd>) -> Self {
        Self {
            session: Arc::downgrade(session),
        }
    }

    /// Has the kernel forget the attributes of a node and what it has cached of its
    /// contents; of a directory, its listing.
    pub(crate) fn changed(&self, node: NodeId) {
        self.invalidate(node, 0);
    }

    /// Has the kernel forget the attributes of a node.
    pub(crate) fn attributes_changed(&self, node: NodeId) {
        self.invalidate(node, -1);
    }

    fn invalidate(&self, node: NodeId, off: i64) {
        let Some(session) = self.session.upgrade() else {
            return;
        };
        let body = abi::NotifyInvalInodeOut {
            ino: node.0,
            off,
            len: 0,
        };
        let len = size_of::<abi::OutHeader>() + size_of_val(&body);
        let head = abi::OutHeader {
            len: u32::try_from(len).unwrap_or(u32::MAX),
            error: INVAL_INODE,
            unique: 0,
        };
        let message = [IoSlice::new(head.as_bytes()), IoSlice::new(body.as_bytes())];
        match rustix::io::writev(&*session, &message) {
            // ENOENT: the kernel does not know the node. ENODEV: the session is over.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => debug!(node = node.0, "invalidate: {errno}"),
        }
    }
}
