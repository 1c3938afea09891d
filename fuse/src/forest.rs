//! Many trees in one mount, below directories that a [`Catalog`] describes.
//!
//! The kernel knows the nodes of all trees by the numbers of one table ([`numbers`]). A
//! request is routed to the tree that its node belongs to, asked there by the tree's own
//! numbers, and the numbers in the answer are replaced. Nothing of what the catalogue says
//! is cached, neither here nor by the kernel. A tree is kept while the kernel knows a node
//! of it.
//!
//! What a lone tree tells the kernel once for a whole session (`ENOSYS`: never ask again)
//! must not reach it from here, since it would hold for all trees; [`lone`] has the answer
//! that the kernel would give itself.
//!
//! Locks, in the order in which a thread may take them: `planting`, the table of numbers. No
//! tree is asked while the table is held.

mod branch;
mod lone;
mod numbers;
mod planted;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::io::Errno;

use crate::session::Introduction;
use crate::{Catalog, Entry, Error, Item, NodeId, Operation, Reply, Request, Result};
use branch::Branch;
use numbers::{Known, Numbers};
use planted::Planted;

/// Many trees, and what is above them.
#[derive(Debug)]
pub struct Forest {
    catalog: Box<dyn Catalog>,
    rests: bool,
    numbers: Arc<Numbers>,
    planting: Mutex<()>,
    introduction: OnceLock<Introduction>,
}

/// What a request of a forest's session is about.
#[derive(Debug)]
pub(crate) enum Spot {
    /// What the catalogue describes.
    Branch(Branch),
    /// A node of a tree, which is kept while it answers.
    Tree(Arc<Planted>, NodeId),
    /// Nothing that is known.
    Nowhere,
}

impl Forest {
    /// Returns the forest of a catalogue, in which no tree is open yet.
    pub fn new(catalog: impl Catalog + 'static) -> Self {
        Self {
            catalog: Box::new(catalog),
            rests: false,
            numbers: Arc::default(),
            planting: Mutex::default(),
            introduction: OnceLock::new(),
        }
    }

    /// Lets trees rest ([`Forest::rest`]), for which it is remembered what names the kernel
    /// knows to be absent: it keeps the directory for each.
    #[must_use]
    pub fn resting(self) -> Self {
        Self {
            rests: true,
            ..self
        }
    }

    /// Lets trees that are opened from now on tell the kernel what has changed, and have
    /// files passed through, as the session allows.
    pub(crate) fn introduce(&self, introduction: Introduction) {
        drop(self.introduction.set(introduction));
    }

    /// Has the tree of a path refuse all changes from now on (`EROFS`); without effect
    /// where none is open.
    ///
    /// What is open for writing and passed through is written on.
    pub fn freeze(&self, path: &[u8]) {
        if let Some(planted) = self.numbers.tree_at(path) {
            planted.freeze();
        }
    }

    /// Forgets the tree of a path: who looks the path up from now on opens it anew. Asks the
    /// kernel to let go of what it has cached of it; returns whether no tree of the path is
    /// left. One is while somebody uses it, and for a moment after.
    ///
    /// Before Linux 6.18 a tree that was in use when this was called first may stay until the
    /// kernel needs the memory.
    pub fn uproot(&self, path: &[u8]) -> bool {
        let planting = self.planting.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.numbers.uproot(path);
        // The kernel waits for look-ups in the directory before it lets go of the name.
        drop(planting);
        let Some(left) = left else {
            return true;
        };
        if let Some(introduction) = self.introduction.get() {
            let (above, name) = branch::split(path);
            let notifier = introduction.notifier();
            if let Some(above) = self.numbers.branch_at(above) {
                notifier.name_changed(above, name);
            }
            notifier.prune(&left);
        }
        false
    }

    /// Has the kernel let go of what it has cached of trees that were not asked for anything
    /// since the last call. Those of them that nobody uses are closed then, if they may rest
    /// ([`Forest::resting`]).
    ///
    /// Linux can do that from 6.18 on; before, they stay open until it needs the memory.
    pub fn rest(&self) {
        if let Some(introduction) = self.introduction.get() {
            let notifier = introduction.notifier();
            let (trees, numbers) = self.numbers.unasked();
            for (directory, name) in trees.iter().flat_map(|tree| tree.take_absent()) {
                notifier.name_changed(directory, &name);
            }
            notifier.prune(&numbers);
        }
    }

    /// Finds what a request is about.
    pub(crate) fn spot(&self, node: NodeId) -> Spot {
        match self.numbers.get(node) {
            Some(Known::Branch(branch)) => Spot::Branch(branch),
            Some(Known::Tree(planted, inner)) => Spot::Tree(planted, inner),
            None => Spot::Nowhere,
        }
    }

    /// Answers a request, as [`View::answer`](crate::View::answer).
    pub(crate) fn answer<'a>(&'a self, spot: &'a Spot, request: &Request<'_>) -> Result<Reply<'a>> {
        if let Operation::Forget { lookups } = request.operation {
            self.forget(spot, request, lookups);
            return Ok(Reply::Silent);
        }
        match spot {
            Spot::Branch(branch) => match request.operation {
                Operation::Lookup { name } => self.look_up(branch, name),
                Operation::ReadDir { offset } | Operation::ReadDirPlus { offset } => {
                    Ok(Reply::Listing(branch.list(self.catalog.as_ref(), offset)?))
                }
                operation => branch.answer(operation),
            },
            Spot::Tree(planted, inner) => {
                let reply = planted.answer(&self.numbers, *inner, request)?;
                if self.rests {
                    planted.take_note(request, &reply);
                }
                Ok(reply)
            }
            Spot::Nowhere => Err(Error::Refused(Errno::STALE)),
        }
    }

    fn forget(&self, spot: &Spot, request: &Request<'_>, lookups: u64) {
        self.numbers.forget(request.node, lookups);
        if let Spot::Tree(planted, inner) = spot {
            planted.forget(*inner, lookups);
        }
    }

    fn look_up(&self, above: &Branch, name: &[u8]) -> Result<Reply<'_>> {
        let path = above.below(name)?;
        let branch = match self.catalog.item(&path)? {
            // An error is not remembered, as an absent name would be.
            None => return Err(Error::Refused(Errno::NOENT)),
            Some(Item::Tree) => return self.plant(&path),
            Some(Item::Directory) => Branch::directory(&path),
            Some(Item::File(bytes)) => Branch::file(&path, &bytes),
            Some(Item::Stored { path: place, size }) => Branch::stored(&path, &place, size),
            Some(Item::Symlink(target)) => Branch::symlink(&path, &target),
        };
        Ok(Reply::Fleeting(Entry {
            attr: branch.attr(),
            node: self.numbers.see_branch(branch),
        }))
    }

    /// Answers a look-up with the root of a tree, which is opened unless it is open.
    fn plant(&self, path: &[u8]) -> Result<Reply<'_>> {
        let planted = self.planted(path)?;
        let attr = planted
            .root()
            .inspect_err(|_| drop(self.numbers.uproot(path)))?;
        Ok(Reply::Fleeting(Entry {
            attr,
            node: self.numbers.see(&planted, NodeId::ROOT),
        }))
    }

    /// Returns the tree of a path, which is opened unless it is open.
    fn planted(&self, path: &[u8]) -> Result<Arc<Planted>> {
        let _planting = self.planting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(planted) = self.numbers.tree_at(path) {
            return Ok(planted);
        }
        let planted = self.numbers.plant(path, self.catalog.open(path)?);
        if let Some(introduction) = self.introduction.get() {
            planted.introduce(introduction, &self.numbers);
        }
        Ok(planted)
    }
}
