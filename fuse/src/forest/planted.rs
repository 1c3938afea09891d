//! One tree of a forest: asked by its own numbers, answered for by those of the forest.

use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::lone;
use super::numbers::Numbers;
use crate::session::Introduction;
use crate::{
    Attr, Caller, DirEntry, Entry, Error, Listing, NodeId, Operation, Reply, Request, Result, Tree,
};

/// Absent names that are remembered of a tree. One of which the kernel knows more rests only
/// when the kernel needs the memory.
const MOST_ABSENT: usize = 10_000;

/// A name that is absent from a directory, which has a number of the forest.
type Absent = (NodeId, Box<[u8]>);

/// A tree that is open.
#[derive(Debug)]
pub(crate) struct Planted {
    /// What tells it from all other trees that the forest has had.
    pub(super) number: u32,
    pub(super) path: Box<[u8]>,
    tree: Tree,
    is_frozen: AtomicBool,
    was_asked: AtomicBool,
    /// What the kernel knows to be absent.
    absent: Mutex<HashSet<Absent>>,
}

impl Planted {
    pub(super) fn new(number: u32, path: &[u8], tree: Tree) -> Self {
        Self {
            number,
            path: path.into(),
            tree,
            is_frozen: AtomicBool::new(false),
            was_asked: AtomicBool::new(true),
            absent: Mutex::default(),
        }
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn introduce(&self, introduction: &Introduction, numbers: &Arc<Numbers>) {
        let (numbers, number) = (Arc::downgrade(numbers), self.number);
        introduction.to_tree(&self.tree, move |node| {
            numbers.upgrade()?.number_of(number, node)
        });
    }

    pub(super) fn freeze(&self) {
        self.is_frozen.store(true, Ordering::Relaxed);
    }

    /// Returns whether the tree was asked for something since this was called last.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.swap(false, Ordering::Relaxed)
    }

    /// Remembers the name that the kernel learns to be absent, if it does.
    pub(super) fn take_note(&self, request: &Request<'_>, reply: &Reply<'_>) {
        let (Operation::Lookup { name } | Operation::Unlink { name } | Operation::RmDir { name }) =
            request.operation
        else {
            return;
        };
        if !matches!(reply, Reply::Absent | Reply::Done) {
            return;
        }
        let mut absent = self.absent();
        if absent.len() < MOST_ABSENT {
            absent.insert((request.node, name.into()));
        }
    }

    /// Returns what the kernel knows to be absent; it is to forget that.
    pub(super) fn take_absent(&self) -> HashSet<Absent> {
        mem::take(&mut self.absent())
    }

    fn absent(&self) -> MutexGuard<'_, HashSet<Absent>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the attributes of the root.
    pub(super) fn root(&self) -> Result<Attr> {
        let request = Request {
            node: NodeId::ROOT,
            caller: Caller::default(),
            operation: Operation::GetAttr,
        };
        match self.tree.answer(&request)? {
            Reply::Attr(attr) => Ok(attr),
            _ => Err(Error::Refused(Errno::IO)),
        }
    }

    /// Gives references back; those to the root were never the tree's.
    pub(super) fn forget(&self, node: NodeId, lookups: u64) {
        if node == NodeId::ROOT {
            return;
        }
        let request = Request {
            node,
            caller: Caller::default(),
            operation: Operation::Forget { lookups },
        };
        if let Err(error) = self.tree.answer(&request) {
            tracing::debug!(node = node.0, "forget: {error}");
        }
    }

    /// Answers a request about the node that the tree knows as `inner`.
    pub(super) fn answer<'a>(
        self: &'a Arc<Self>,
        numbers: &'a Numbers,
        inner: NodeId,
        request: &Request<'_>,
    ) -> Result<Reply<'a>> {
        let operation = request.operation;
        self.was_asked.store(true, Ordering::Relaxed);
        if self.is_frozen.load(Ordering::Relaxed) && lone::changes(&operation) {
            return Err(Error::Refused(Errno::ROFS));
        }
        let request = Request {
            node: inner,
            operation: self.with_own_numbers(numbers, operation)?,
            ..*request
        };
        let reply = match self.tree.answer(&request) {
            Err(error) if error.errno() == Errno::NOSYS => {
                return lone::answer(&self.tree, &request);
            }
            other => other?,
        };
        Ok(match reply {
            Reply::Entry(entry) => Reply::Entry(self.seen(numbers, entry)),
            Reply::Created(entry, opened) => Reply::Created(self.seen(numbers, entry), opened),
            Reply::Listing(listing) => Reply::Listing(self.listing(numbers, listing)),
            other => other,
        })
    }

    /// Replaces the numbers of further nodes; one of another tree is on another device.
    fn with_own_numbers<'o>(
        &self,
        numbers: &Numbers,
        operation: Operation<'o>,
    ) -> Result<Operation<'o>> {
        let own = |node| {
            numbers
                .inner(self.number, node)
                .ok_or(Error::Refused(Errno::XDEV))
        };
        Ok(match operation {
            Operation::Rename {
                name,
                to,
                new_name,
                flags,
            } => Operation::Rename {
                name,
                to: own(to)?,
                new_name,
                flags,
            },
            Operation::Link { file, name } => Operation::Link {
                file: own(file)?,
                name,
            },
            Operation::CopyFileRange {
                offset,
                to,
                to_offset,
                length,
            } => Operation::CopyFileRange {
                offset,
                to: own(to)?,
                to_offset,
                length,
            },
            other => other,
        })
    }

    fn seen(self: &Arc<Self>, numbers: &Numbers, entry: Entry) -> Entry {
        Entry {
            node: numbers.see(self, entry.node),
            ..entry
        }
    }

    fn listing<'a>(self: &'a Arc<Self>, numbers: &'a Numbers, listing: Listing<'a>) -> Listing<'a> {
        let Listing { entries, give_back } = listing;
        let see = move |entry: DirEntry<'a>| DirEntry {
            entry: entry.entry.map(|entry| self.seen(numbers, entry)),
            ..entry
        };
        Listing {
            entries: Box::new(entries.map(move |entry| entry.map(see))),
            give_back: Box::new(move |entry| {
                let inner = numbers.inner(self.number, entry.node);
                numbers.forget(entry.node, 1);
                if let Some(node) = inner {
                    give_back(&Entry { node, ..*entry });
                }
            }),
        }
    }
}
