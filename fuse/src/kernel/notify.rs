//! What the kernel is told without having asked.

use std::fmt;
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
/// `FUSE_NOTIFY_INVAL_ENTRY`.
const INVAL_ENTRY: i32 = 3;
/// `FUSE_NOTIFY_PRUNE`, which Linux has since 6.18 (7.45 of the protocol).
const PRUNE: i32 = 9;
/// Nodes in one message to prune.
const PRUNED_AT_ONCE: usize = 1024;

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
#[derive(Clone)]
pub(crate) struct Notifier {
    session: Weak<OwnedFd>,
    numbers: Option<Arc<Translation>>,
}

/// Returns the kernel's number of a node, or `None` where it knows none.
type Translation = dyn Fn(NodeId) -> Option<NodeId> + Send + Sync;

impl Notifier {
    pub(crate) fn of(session: &Arc<OwnedFd>) -> Self {
        Self {
            session: Arc::downgrade(session),
            numbers: None,
        }
    }

    /// Returns the notifier for nodes that the kernel knows by other numbers.
    pub(crate) fn translated(
        &self,
        numbers: impl Fn(NodeId) -> Option<NodeId> + Send + Sync + 'static,
    ) -> Self {
        Self {
            session: self.session.clone(),
            numbers: Some(Arc::new(numbers)),
        }
    }

    /// Has the kernel look a name in a directory up anew, and let go of what it stood for
    /// if nobody uses it.
    pub(crate) fn name_changed(&self, directory: NodeId, name: &[u8]) {
        let Some(directory) = self.number(directory) else {
            return;
        };
        let body = abi::NotifyInvalEntryOut {
            parent: directory.0,
            namelen: u32::try_from(name.len()).unwrap_or(u32::MAX),
            flags: 0,
        };
        let name = [name, b"\0"].concat();
        self.send(directory, INVAL_ENTRY, &[body.as_bytes(), &name]);
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

    /// Has the kernel forget those of the nodes that nobody uses, in this order: what is in a
    /// directory before the directory.
    pub(crate) fn prune(&self, nodes: &[NodeId]) {
        for nodes in nodes.chunks(PRUNED_AT_ONCE) {
            let body = abi::NotifyPruneOut {
                count: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
                padding: 0,
                spare: 0,
            };
            let numbers: Vec<u8> = nodes.iter().flat_map(|node| node.0.to_ne_bytes()).collect();
            self.send(NodeId::ROOT, PRUNE, &[body.as_bytes(), &numbers]);
        }
    }

    fn invalidate(&self, node: NodeId, off: i64) {
        let Some(node) = self.number(node) else {
            return;
        };
        let body = abi::NotifyInvalInodeOut {
            ino: node.0,
            off,
            len: 0,
        };
        self.send(node, INVAL_INODE, &[body.as_bytes()]);
    }

    fn number(&self, node: NodeId) -> Option<NodeId> {
        match &self.numbers {
            Some(numbers) => numbers(node),
            None => Some(node),
        }
    }

    fn send(&self, node: NodeId, code: i32, body: &[&[u8]]) {
        let Some(session) = self.session.upgrade() else {
            return;
        };
        let length = body.iter().map(|part| part.len()).sum::<usize>();
        let head = abi::OutHeader {
            len: u32::try_from(size_of::<abi::OutHeader>() + length).unwrap_or(u32::MAX),
            error: code,
            unique: 0,
        };
        let parts = body.iter().copied();
        let message: Vec<_> = [head.as_bytes()]
            .into_iter()
            .chain(parts)
            .map(IoSlice::new)
            .collect();
        match rustix::io::writev(&*session, &message) {
            // ENOENT: the kernel does not know the node. ENODEV: the session is over.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => debug!(node = node.0, "invalidate: {errno}"),
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}
