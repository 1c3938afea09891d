//! Listings: first the names of the layers below, each with what the upper has over it,
//! then those that only the upper has. Every name keeps its place while it is there.

use std::sync::Arc;

use rustix::io::Errno;

use super::lookup::Resolved;
use super::node::Node;
use super::{ActiveView, asked};
use crate::{Caller, DirEntry, Error, FileType, Ino, Listing, Operation, Reply, Request, Result};

/// The first cookie of names that only the upper has.
const OWN: u64 = 1 << 62;

impl ActiveView {
    /// Answers a listing from a cookie on.
    pub(super) fn list(
        &self,
        request: &Request<'_>,
        cookie: u64,
        with_entries: bool,
    ) -> Result<Reply<'_>> {
        let walk = Walk {
            view: self,
            caller: request.caller,
            directory: self.directory(request.node)?,
            cookie,
            with_entries,
            below: None,
        };
        Ok(Reply::Listing(Listing {
            entries: Box::new(walk.fuse()),
            give_back: Box::new(|entry| self.forget(entry.node, 1)),
        }))
    }

    /// Returns the number and type of a name, without a reference.
    fn ino(&self, directory: &Node, name: &[u8]) -> Result<Option<(Ino, FileType)>> {
        if let Some(node) = self.nodes.child(directory.id, name) {
            return Ok(Some((node.state().ino, node.file_type)));
        }
        let inside = self.loaded(directory)?;
        let Some(Resolved { file_type, found }) = self.resolve(directory, &inside, name)? else {
            return Ok(None);
        };
        if let Some(lower) = found.lower {
            self.give_back(lower);
        }
        Ok(Some((found.ino, file_type)))
    }
}

/// One listing under way.
struct Walk<'v> {
    view: &'v ActiveView,
    caller: Caller,
    directory: Arc<Node>,
    cookie: u64,
    with_entries: bool,
    /// The listing of the layers below, while it is gone through.
    below: Option<Listing<'v>>,
}

impl<'v> Walk<'v> {
    fn step(&mut self) -> Result<Option<DirEntry<'v>>> {
        loop {
            let (name, next, below) = match self.cookie {
                0 => return Ok(Some(dot(self.directory.state().ino, 1, b"."))),
                1 => return Ok(Some(dot(self.parent_ino(), 2, b".."))),
                cookie if cookie < OWN => {
                    let Some(below) = self.next_below()? else {
                        self.cookie = OWN;
                        continue;
                    };
                    (below.name.to_vec(), below.next, Some(below))
                }
                cookie => match self.next_own(cookie - OWN)? {
                    Some((name, next)) => (name, next, None),
                    None => return Ok(None),
                },
            };
            self.cookie = next;
            let untouched = below.map(|below| self.untouched(&below)).transpose()?;
            let entry = match untouched.flatten() {
                Some(entry) => Some(entry),
                None => self.entry(name, next)?,
            };
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }

    /// Returns the entry of a name of the layers below that the upper does not have, from
    /// what their listing said of it.
    fn untouched(&self, below: &DirEntry<'_>) -> Result<Option<DirEntry<'v>>> {
        let view = self.view;
        let give_back = || {
            if let Some(entry) = below.entry {
                view.give_back(entry.node);
            }
        };
        let inside = view.loaded(&self.directory).inspect_err(|_| give_back())?;
        if inside.name(&below.name).is_some() {
            give_back();
            return Ok(None);
        }
        let mut shown = DirEntry {
            ino: below.ino,
            next: below.next,
            file_type: below.file_type,
            name: below.name.to_vec().into(),
            entry: None,
        };
        if let Some(entry) = below.entry {
            let entry = view.adopt_below(self.directory.id, &below.name, &entry);
            (shown.ino, shown.entry) = (entry.attr.ino, Some(entry));
        } else if let Some(node) = view.nodes.child(self.directory.id, &below.name) {
            shown.ino = node.state().ino;
        }
        Ok(Some(shown))
    }

    fn entry(&self, name: Vec<u8>, next: u64) -> Result<Option<DirEntry<'v>>> {
        let view = self.view;
        let (ino, file_type, entry) = if self.with_entries {
            let Some(node) = view.child(&self.directory, &name)? else {
                return Ok(None);
            };
            let entry = view.entry(&node)?;
            (entry.attr.ino, node.file_type, Some(entry))
        } else {
            let Some((ino, file_type)) = view.ino(&self.directory, &name)? else {
                return Ok(None);
            };
            (ino, file_type, None)
        };
        Ok(Some(DirEntry {
            ino,
            next,
            file_type,
            name: name.into(),
            entry,
        }))
    }

    /// Returns the next entry of the layers below.
    fn next_below(&mut self) -> Result<Option<DirEntry<'v>>> {
        let Some(lower) = self.directory.directory().lower else {
            return Ok(None);
        };
        if self.below.is_none() {
            let offset = self.cookie;
            let operation = if self.with_entries {
                Operation::ReadDirPlus { offset }
            } else {
                Operation::ReadDir { offset }
            };
            let request = Request {
                caller: self.caller,
                ..asked(lower, operation)
            };
            let Reply::Listing(listing) = self.view.lower.answer(&request)? else {
                return Err(Error::Refused(Errno::IO));
            };
            self.below = Some(listing);
        }
        let entries = self.below.as_mut().map(|listing| &mut listing.entries);
        entries.and_then(Iterator::next).transpose()
    }

    fn next_own(&self, place: u64) -> Result<Option<(Vec<u8>, u64)>> {
        let inside = self.view.loaded(&self.directory)?;
        let own = inside
            .names
            .as_ref()
            .and_then(|names| names.next_own(place));
        Ok(own.map(|(place, name)| (name.bytes.to_vec(), OWN + place + 1)))
    }

    fn parent_ino(&self) -> Ino {
        let parent = self.view.nodes.place(self.directory.id);
        let parent = parent.and_then(|place| self.view.nodes.get(place.parent));
        parent.as_ref().unwrap_or(&self.directory).state().ino
    }
}

impl<'v> Iterator for Walk<'v> {
    type Item = Result<DirEntry<'v>>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        // After an error the listing is over: it lists fully or fails.
        self.cookie = match &step {
            Ok(Some(entry)) => entry.next,
            Ok(None) | Err(_) => u64::MAX,
        };
        step.transpose()
    }
}

fn dot(ino: Ino, next: u64, name: &'static [u8]) -> DirEntry<'static> {
    DirEntry {
        ino,
        next,
        file_type: FileType::Directory,
        name: name.into(),
        entry: None,
    }
}
