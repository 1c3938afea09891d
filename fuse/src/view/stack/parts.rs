//! The directories that layers have for one name, in their order: read one after the other,
//! or by several threads where the disk makes each take long. It serves many readers in
//! hardly more time than one, and a chain may have hundreds of layers.

use std::thread;
use std::time::{Duration, Instant};

use super::{Contributor, Located, Stack};
use crate::Result;

/// Directories that are read to see how long one takes.
const FIRST: u32 = 4;
/// How long the reading of one that is in memory never takes.
const SLOW: Duration = Duration::from_micros(40);
/// Directories for which it is worth while to start threads.
const MANY: usize = 8;
/// Threads that read at once.
const THREADS: usize = 8;

/// The directories of one name.
#[derive(Debug)]
pub(super) struct Parts<'s> {
    stack: &'s Stack,
    located: Vec<Located>,
    next: u32,
    start: Instant,
    /// Those after the first, where they were read already.
    read: Vec<Option<Result<Contributor>>>,
}

impl<'s> Parts<'s> {
    pub(super) fn new(stack: &'s Stack, parts: Vec<Located>) -> Self {
        Self {
            stack,
            located: parts,
            next: 0,
            start: Instant::now(),
            read: Vec::new(),
        }
    }

    /// Returns the next directory. What is wrong with those after one that is the last for
    /// the caller does not matter.
    pub(super) fn next(&mut self) -> Result<Option<Contributor>> {
        let position = self.next;
        self.next += 1;
        if position == FIRST && self.start.elapsed() > SLOW * FIRST {
            self.read_rest();
        }
        let read = position.checked_sub(FIRST);
        let read = read.and_then(|place| self.read.get_mut(place as usize)?.take());
        match (read, self.located.get(position as usize)) {
            (Some(read), _) => read.map(Some),
            (None, Some(part)) => self.stack.contributor(part).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Reads all after the first by several threads, those of them that can be had.
    fn read_rest(&mut self) {
        let rest = self.located.get(FIRST as usize..).unwrap_or_default();
        if rest.len() < MANY {
            return;
        }
        let stack = self.stack;
        self.read = thread::scope(|scope| {
            let shares = rest.chunks(rest.len().div_ceil(THREADS));
            let running: Vec<_> = shares
                .map(|share| {
                    let read = move || share.iter().map(|part| Some(stack.contributor(part)));
                    let thread = thread::Builder::new();
                    let thread = thread.spawn_scoped(scope, move || read().collect::<Vec<_>>());
                    (thread.ok(), share.len())
                })
                .collect();
            let read = running.into_iter().flat_map(|(thread, length)| {
                let read = thread.and_then(|thread| thread.join().ok());
                read.unwrap_or_else(|| (0..length).map(|_| None).collect())
            });
            read.collect()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::layer::Kind;
    use crate::view::identity::Identity;
    use crate::{DirectoryLayer, Layer};

    /// Returns a chain of so many layers, each with a directory `d` with one name in it.
    fn stack(above: &Path, layers: usize) -> Stack {
        let layers: Vec<_> = (0..layers)
            .map(|number| {
                let root = above.join(number.to_string());
                fs::create_dir_all(root.join("d").join(number.to_string())).unwrap();
                Layer::Directory(Arc::new(DirectoryLayer::open(&root).unwrap()))
            })
            .collect();
        Stack {
            identity: Identity::of(&layers).unwrap(),
            layers: layers.into(),
        }
    }

    /// Returns the layer and name of each directory, or that it could not be read.
    fn contents(stack: &Stack, mut parts: Parts<'_>) -> Vec<Option<(u32, Vec<u8>)>> {
        let count = parts.located.len();
        let read = (0..count).map(|_| {
            let contributor = parts.next().ok()??;
            let dentries = contributor.dentries(stack).unwrap();
            Some((contributor.layer, dentries.name(0).unwrap().to_vec()))
        });
        let read = read.collect();
        assert!(parts.next().unwrap().is_none());
        read
    }

    #[test]
    fn many_directories_are_the_same_whether_they_are_read_at_once_or_not() {
        for count in [5, 11, 12, 13, 40] {
            let above = tempfile::tempdir().unwrap();
            let stack = stack(above.path(), count);
            let parts = || {
                let parts = (0..u32::try_from(count).unwrap()).map(|layer| Located {
                    layer,
                    kind: Kind::RealDirectory { opaque: false },
                    path: b"d"[..].into(),
                });
                Parts::new(&stack, parts.collect())
            };
            // Some that cannot be read, one of the first and one of the others.
            for missing in [1, count - 1] {
                fs::remove_dir_all(above.path().join(missing.to_string()).join("d")).unwrap();
            }
            let mut at_once = parts();
            at_once.read_rest();
            let started = at_once.read.len();
            assert_eq!(started, if count >= 12 { count - 4 } else { 0 });
            let expected = contents(&stack, parts());
            assert_eq!(expected.iter().filter(|part| part.is_none()).count(), 2);
            assert_eq!(contents(&stack, at_once), expected, "{count}");
        }
    }
}
