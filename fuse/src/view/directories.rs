//! The directories that a view has made, each made once.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::directory::Directory;
use crate::{NodeId, Result};

const SHARDS: u64 = 16;

/// The directories in use, by node.
#[derive(Debug)]
pub(super) struct Directories {
    shards: Box<[Shard]>,
}

#[derive(Debug, Default)]
struct Shard {
    directories: Mutex<HashMap<NodeId, State>>,
    /// A directory of this shard was made, or could not be.
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    /// A thread makes it.
    InTheMaking,
    Made(Directory),
}

impl Directories {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    /// Returns the directory of a node if it was made.
    pub(super) fn made(&self, node: NodeId) -> Option<Directory> {
        match self.shard(node).lock().get(&node) {
            Some(State::Made(directory)) => Some(directory.clone()),
            _ => None,
        }
    }

    /// Returns the directory of a node, and makes it where that was not done yet. A
    /// thread that comes while another makes it waits; no lock is held meanwhile.
    pub(super) fn made_by(
        &self,
        node: NodeId,
        make: impl FnOnce() -> Result<Directory>,
    ) -> Result<Directory> {
        let shard = self.shard(node);
        let mut directories = shard.lock();
        loop {
            match directories.get(&node) {
                Some(State::Made(directory)) => return Ok(directory.clone()),
                Some(State::InTheMaking) => {
                    let woken = shard.changed.wait(directories);
                    directories = woken.unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        directories.insert(node, State::InTheMaking);
        drop(directories);
        let mut making = Making {
            shard,
            node,
            made: None,
        };
        let directory = make()?;
        making.made = Some(directory.clone());
        Ok(directory)
    }

    /// Gives the memory of a directory back.
    pub(super) fn remove(&self, node: NodeId) {
        let mut directories = self.shard(node).lock();
        if let Some(State::Made(_)) = directories.get(&node) {
            directories.remove(&node);
        }
    }

    fn shard(&self, node: NodeId) -> &Shard {
        let shard = (node.0 ^ (node.0 >> 32)) % SHARDS;
        &self.shards[usize::try_from(shard).unwrap_or_default()]
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, State>> {
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the making of a directory, also when that failed, so that nobody waits for ever.
struct Making<'a> {
    shard: &'a Shard,
    node: NodeId,
    made: Option<Directory>,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut directories = self.shard.lock();
        match self.made.take() {
            Some(directory) => directories.insert(self.node, State::Made(directory)),
            None => directories.remove(&self.node),
        };
        drop(directories);
        self.shard.changed.notify_all();
    }
}
