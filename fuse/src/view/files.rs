//! The open files of directory layers: a bounded number of descriptors, one an inode.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{NodeId, Result};

/// The most files that are kept open.
const CAPACITY: usize = 128;

/// The files read last.
#[derive(Debug)]
pub(crate) struct OpenFiles<T = OwnedFd>(Mutex<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    files: HashMap<NodeId, (Arc<T>, u64)>,
    uses: u64,
}

impl<T> Default for OpenFiles<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            files: HashMap::new(),
            uses: 0,
        }))
    }
}

impl<T> OpenFiles<T> {
    /// Returns the open file of a node, and opens it where it is not. The lock is not
    /// held while a file is opened or closed.
    pub(crate) fn get(&self, node: NodeId, open: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        if let Some(file) = self.lock().touch(node) {
            return Ok(file);
        }
        let file = Arc::new(open()?);
        let mut inner = self.lock();
        if let Some(earlier) = inner.touch(node) {
            return Ok(earlier);
        }
        let evicted = inner.insert(node, Arc::clone(&file));
        drop(inner);
        drop(evicted);
        Ok(file)
    }

    /// Closes the file of a node.
    pub(crate) fn remove(&self, node: NodeId) {
        let removed = self.lock().files.remove(&node);
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn touch(&mut self, node: NodeId) -> Option<Arc<T>> {
        self.uses += 1;
        let (file, last_use) = self.files.get_mut(&node)?;
        *last_use = self.uses;
        Some(Arc::clone(file))
    }

    fn insert(&mut self, node: NodeId, file: Arc<T>) -> Option<Arc<T>> {
        let oldest = || self.files.iter().min_by_key(|(_, (_, last_use))| *last_use);
        let oldest = if self.files.len() < CAPACITY {
            None
        } else {
            oldest().map(|(node, _)| *node)
        };
        let evicted = oldest.and_then(|node| self.files.remove(&node));
        self.files.insert(node, (file, self.uses));
        evicted.map(|(file, _)| file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_used_least_recently_is_closed() {
        let files = OpenFiles::default();
        let opened = std::cell::Cell::new(0);
        let get = |node| {
            let open = || {
                opened.set(opened.get() + 1);
                Ok(OwnedFd::from(std::fs::File::open("/").unwrap()))
            };
            files.get(NodeId(node), open).unwrap()
        };
        for node in 0..CAPACITY as u64 {
            get(node);
        }
        get(0);
        get(CAPACITY as u64);
        assert_eq!(files.lock().files.len(), CAPACITY);
        let before = opened.get();
        get(0);
        assert_eq!(opened.get(), before, "used since");
        get(1);
        assert_eq!(opened.get(), before + 1, "the oldest");
    }
}
