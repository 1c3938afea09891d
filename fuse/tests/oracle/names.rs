//! Names and paths of a sequence: few, so that operations meet.
//!
//! What is there is guessed, as if root did everything and followed no symbolic link: it
//! only has to be right often enough.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::operation::{SLOTS, Slot};
use crate::random::Random;

/// What is probably there.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    known: BTreeMap<PathBuf, Kind>,
    open: [bool; SLOTS],
}

/// What a path probably is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Other,
}

/// What a layer has for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Laid {
    Shown(Kind),
    Opaque,
    Whiteout,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self {
            known: BTreeMap::new(),
            open: [false; SLOTS],
        }
    }

    /// Lays the names of a layer over those of the layers below it.
    pub(crate) fn lay(&mut self, layer: &BTreeMap<PathBuf, Laid>) {
        for (path, laid) in layer {
            let is_merged = *laid == Laid::Shown(Kind::Directory) && self.is_directory(path);
            if !is_merged {
                self.known.retain(|known, _| !known.starts_with(path));
            }
            match laid {
                Laid::Shown(kind) => drop(self.known.insert(path.clone(), *kind)),
                Laid::Opaque => drop(self.known.insert(path.clone(), Kind::Directory)),
                Laid::Whiteout => (),
            }
        }
    }

    pub(crate) fn kind(&self, path: &Path) -> Option<Kind> {
        self.known.get(path).copied()
    }

    /// Returns whether something new can be made there.
    pub(crate) fn is_free(&self, path: &Path) -> bool {
        let parent = path.parent().unwrap_or(Path::new(""));
        let is_long = path.file_name().is_none_or(|name| name.len() > 255);
        !self.known.contains_key(path) && self.is_directory(parent) && !is_long
    }

    pub(crate) fn make(&mut self, path: &Path, kind: Kind) {
        if self.is_free(path) {
            self.known.insert(path.to_path_buf(), kind);
        }
    }

    pub(crate) fn link(&mut self, from: &Path, to: &Path) {
        if let Some(kind) = self.kind(from)
            && kind != Kind::Directory
        {
            self.make(to, kind);
        }
    }

    pub(crate) fn unlink(&mut self, path: &Path) {
        if !self.is_directory(path) {
            self.known.remove(path);
        }
    }

    pub(crate) fn remove_directory(&mut self, path: &Path) {
        if self.is_directory(path) && self.is_empty(path) {
            self.known.remove(path);
        }
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        let Some(kind) = self.kind(from) else {
            return;
        };
        let is_fit = match self.kind(to) {
            None => self.is_free(to),
            Some(Kind::Directory) => kind == Kind::Directory && self.is_empty(to),
            Some(_) => kind != Kind::Directory,
        };
        if is_fit && !to.starts_with(from) {
            self.known.remove(to);
            let moved = self.take(from);
            self.put(to, moved);
        }
    }

    pub(crate) fn exchange(&mut self, one: &Path, other: &Path) {
        let are_there = self.known.contains_key(one) && self.known.contains_key(other);
        if are_there && !one.starts_with(other) && !other.starts_with(one) {
            let (first, second) = (self.take(one), self.take(other));
            self.put(other, first);
            self.put(one, second);
        }
    }

    /// Takes a path away with all below it; returns the paths from there.
    fn take(&mut self, path: &Path) -> Vec<(PathBuf, Kind)> {
        let below = |(known, kind): (&PathBuf, &Kind)| {
            let rest = known.strip_prefix(path).ok()?;
            Some((rest.to_path_buf(), *kind))
        };
        let taken = self.known.iter().filter_map(below).collect();
        self.known.retain(|known, _| !known.starts_with(path));
        taken
    }

    fn put(&mut self, path: &Path, taken: Vec<(PathBuf, Kind)>) {
        for (rest, kind) in taken {
            // To join nothing would end in a slash.
            let to = path.components().chain(rest.components()).collect();
            self.known.insert(to, kind);
        }
    }

    fn is_directory(&self, path: &Path) -> bool {
        path == Path::new("") || self.kind(path) == Some(Kind::Directory)
    }

    fn is_empty(&self, path: &Path) -> bool {
        !self.known.keys().any(|known| known.parent() == Some(path))
    }

    /// Notes whether a file is open.
    pub(crate) fn set_open(&mut self, slot: Slot, is_open: bool) {
        self.open[slot] = is_open;
    }

    pub(crate) fn close_all(&mut self) {
        self.open = [false; SLOTS];
    }

    /// Returns a place in the table of open files, probably of an open one.
    pub(crate) fn slot(&self, random: &mut Random) -> Slot {
        let open: Vec<Slot> = (0..SLOTS).filter(|slot| self.open[*slot]).collect();
        if open.is_empty() || random.chance(5) {
            return random.below(SLOTS);
        }
        random.pick(&open)
    }

    /// Returns a path, probably of something.
    pub(crate) fn any(&self, random: &mut Random) -> PathBuf {
        self.that_is(random, |_| true)
    }

    /// Returns a path, probably of that kind.
    pub(crate) fn of(&self, random: &mut Random, kind: Kind) -> PathBuf {
        self.that_is(random, |other| other == kind)
    }

    fn that_is(&self, random: &mut Random, is_fit: impl Fn(Kind) -> bool) -> PathBuf {
        let fit = self.known.iter().filter(|(_, kind)| is_fit(**kind));
        let fit: Vec<&PathBuf> = fit.map(|(path, _)| path).collect();
        if fit.is_empty() || random.chance(5) {
            return self.free(random);
        }
        random.pick(&fit).clone()
    }

    /// Returns a path in a directory that is probably there.
    pub(crate) fn free(&self, random: &mut Random) -> PathBuf {
        let directories = self
            .known
            .iter()
            .filter(|(_, kind)| **kind == Kind::Directory);
        let directories: Vec<&PathBuf> = directories.map(|(path, _)| path).collect();
        if directories.is_empty() || random.chance(25) {
            return PathBuf::from(name(random));
        }
        random.pick(&directories).join(name(random))
    }
}

/// Returns a name, seldom an odd one. None is so long that the path of a directory that
/// moves could not be recorded.
pub(crate) fn name(random: &mut Random) -> OsString {
    let odd: [&[u8]; 8] = [
        b" ",
        b"\xc3\xa9\n",
        b"\xff\xfe",
        b"-",
        b"\\",
        b"...",
        b".wh",
        &[b'n'; 60],
    ];
    if random.chance(1) {
        return OsString::from_vec(vec![b'm'; 256]);
    }
    if random.chance(6) {
        return OsString::from_vec(random.pick(&odd).to_vec());
    }
    OsString::from(random.pick(&["a", "b", "c", "d", "e"]))
}
