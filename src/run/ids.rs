//! Which ids there are inside, and what stands for them outside.
//!
//! Root needs no user namespace. An ordinary user is root inside; with subordinate ids
//! (subuid(5)) all others are mapped too, by the helpers newuidmap and newgidmap. Without,
//! there is root alone, and whatever belongs to somebody else looks as if it were root's. Root of
//! a user namespace is a user whose subordinate ids are the other ids there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::{MAP_COMMAND, RunError, failed};
use crate::programs::find;
use crate::sys;
use crate::users::{self, Mapped};

/// What maps users and groups.
const HELPERS: [&str; 2] = ["newuidmap", "newgidmap"];

/// The most of `/etc/subuid` or `/etc/passwd` that is read.
const LONGEST: u64 = 4 << 20;

/// Whose ids there are inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// Those of this machine: root runs it.
    Host,
    /// Root alone, which stands for the user.
    Single {
        /// The user outside.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Root, which stands for the user, and the subordinate ids from 1 on.
    Subordinate {
        /// The user outside.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Subordinate users.
        users: Vec<Range>,
        /// Subordinate groups.
        groups: Vec<Range>,
    },
}

/// A run of subordinate ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first id outside.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Ids {
    /// Returns the ids that this process can have inside.
    pub fn of_process() -> Self {
        if users::is_machine_root() {
            return Self::Host;
        }
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            let others = |file| others(&users::mapped(file));
            return Self::of_root(others("/proc/self/uid_map"), others("/proc/self/gid_map"));
        }
        let (uid, gid) = (uid.as_raw(), rustix::process::getegid().as_raw());
        let name = name_of(uid);
        let ranges = |file| subordinate_ranges(file, name.as_deref(), uid);
        let (users, groups) = (ranges("/etc/subuid"), ranges("/etc/subgid"));
        let has_helpers = || HELPERS.into_iter().all(|helper| find(helper).is_some());
        if users.is_empty() || groups.is_empty() || !has_helpers() {
            return Self::Single { uid, gid };
        }
        Self::Subordinate {
            uid,
            gid,
            users,
            groups,
        }
    }

    /// Returns those of root of a user namespace with these other ids.
    fn of_root(users: Vec<Range>, groups: Vec<Range>) -> Self {
        let (uid, gid) = (0, 0);
        if users.is_empty() || groups.is_empty() {
            return Self::Single { uid, gid };
        }
        Self::Subordinate {
            uid,
            gid,
            users,
            groups,
        }
    }

    /// Returns the ids without subordinate ones.
    #[must_use]
    pub fn without_subordinates(self) -> Self {
        match self {
            Self::Subordinate { uid, gid, .. } => Self::Single { uid, gid },
            other => other,
        }
    }

    /// Returns whether inside is another user namespace.
    pub(super) fn has_namespace(&self) -> bool {
        *self != Self::Host
    }

    /// Returns whether there is such a user inside.
    pub(super) fn has_user(&self, id: u32) -> bool {
        match self {
            Self::Host => true,
            Self::Single { .. } => id == 0,
            Self::Subordinate { users, .. } => is_among(id, users),
        }
    }

    /// Returns whether there is such a group inside.
    pub(super) fn has_group(&self, id: u32) -> bool {
        match self {
            Self::Host => true,
            Self::Single { .. } => id == 0,
            Self::Subordinate { groups, .. } => is_among(id, groups),
        }
    }

    /// Gives this process the namespaces of `flags`, and a user namespace with these ids where
    /// that takes one. Returns what ids there are: without a helper that works, root alone.
    pub(super) fn enter(self, flags: UnshareFlags) -> Result<Self, RunError> {
        match &self {
            Self::Host => {
                sys::unshare(flags).map_err(RunError::Restricted)?;
                Ok(self)
            }
            Self::Single { uid, gid } => {
                sys::unshare(flags | UnshareFlags::NEWUSER).map_err(RunError::NoNamespaces)?;
                map_one(*uid, *gid)?;
                Ok(self)
            }
            Self::Subordinate { uid, gid, .. } => {
                let helper = self.start_helper()?;
                sys::unshare(flags | UnshareFlags::NEWUSER).map_err(RunError::NoNamespaces)?;
                if finish_helper(helper)? {
                    return Ok(self);
                }
                let (uid, gid) = (*uid, *gid);
                tracing::warn!("newuidmap does not map the subordinate ids of this user");
                map_one(uid, gid)?;
                Ok(Self::Single { uid, gid })
            }
        }
    }

    /// Starts a process outside of the namespace that is to come, which waits.
    fn start_helper(&self) -> Result<Child, RunError> {
        let Self::Subordinate {
            uid,
            gid,
            users,
            groups,
        } = self
        else {
            return Err(RunError::NoNamespaces(Errno::INVAL));
        };
        let pid = std::process::id().to_string();
        let mut command = Command::new("/proc/self/exe");
        command.arg(MAP_COMMAND).arg(&pid);
        command.args(map_of(*uid, users)).arg("--");
        command.args(map_of(*gid, groups));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed("start", "/proc/self/exe"))
    }
}

/// Is the whole life of the process that maps ids: waits for its turn, then maps those that it was
/// told; who is not root has the helpers do it.
/// Returns its status, which is nothing but whether it could.
pub fn map() -> Result<u8, RunError> {
    let mut words = std::env::args().skip(2);
    let pid = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let mut maps = words.split(|word| word == "--");
    io::stdin()
        .lock()
        .read_to_end(&mut Vec::new())
        .map_err(failed("wait for", "the namespace"))?;
    let is_root = rustix::process::geteuid().is_root();
    for (helper, file) in HELPERS.into_iter().zip(["uid_map", "gid_map"]) {
        let map = maps.next().unwrap_or_default();
        if is_root {
            let path = format!("/proc/{pid}/{file}");
            fs::write(&path, lines_of(map)).map_err(failed("write", &path))?;
            continue;
        }
        let program = find(helper).unwrap_or_else(|| helper.into());
        let status = Command::new(program).arg(&pid).args(map).status();
        if !status.map_err(failed("start", helper))?.success() {
            return Ok(1);
        }
    }
    Ok(0)
}

/// Tells the helper that the namespace is there; returns whether the ids are mapped.
fn finish_helper(mut helper: Child) -> Result<bool, RunError> {
    drop(helper.stdin.take());
    let status = helper.wait().map_err(failed("wait for", "newuidmap"))?;
    Ok(status.success())
}

/// Maps root inside to the user outside, which needs no privilege.
fn map_one(uid: u32, gid: u32) -> Result<(), RunError> {
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    for (path, text) in maps {
        fs::write(path, text).map_err(failed("write", path))?;
    }
    Ok(())
}

/// Returns the arguments of a helper: root first, then the others one after another.
fn map_of(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut map = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut next = 1_u32;
    for range in ranges {
        let count = range.count.min(u32::MAX - next);
        if count > 0 {
            map.extend([next, range.first, count].map(|number| number.to_string()));
        }
        next += count;
    }
    map
}

/// Returns such arguments as the kernel takes them: three numbers a line, all at once.
fn lines_of(map: &[String]) -> String {
    let lines = map.chunks(3).map(|line| line.join(" ") + "\n");
    lines.collect()
}

/// Returns the ids of a user namespace but root, as ranges within it.
fn others(ids: &[Mapped]) -> Vec<Range> {
    let range = |&(inside, _, count): &Mapped| {
        let skipped = u32::from(inside == 0);
        let count = count.saturating_sub(skipped);
        let first = inside + skipped;
        (count > 0).then_some(Range { first, count })
    };
    ids.iter().filter_map(range).collect()
}

fn is_among(id: u32, ranges: &[Range]) -> bool {
    let count: u64 = ranges.iter().map(|range| u64::from(range.count)).sum();
    u64::from(id) <= count
}

/// Returns the ranges of a user in `/etc/subuid` or `/etc/subgid`; none where the file cannot
/// be read.
pub(crate) fn subordinate_ranges(file: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let text = File::open(file).and_then(read_bounded).unwrap_or_default();
    parse_ranges(&text, name, uid)
}

/// Returns the ranges of a user in lines of `name:first:count`.
fn parse_ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    let parse = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != number && Some(owner) != name {
            return None;
        }
        let first = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let is_range = count > 0 && count < u32::MAX - first;
        is_range.then_some(Range { first, count })
    };
    text.lines().filter_map(parse).collect()
}

/// Returns the name of a user of this machine, where `/etc/passwd` has one.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    let text = File::open("/etc/passwd").and_then(read_bounded).ok()?;
    let number = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    })
}

/// Reads the text of a file as far as it is reasonable; what is not UTF-8 is replaced.
pub(super) fn read_bounded(file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_one_user() {
        let range = |first, count| Range { first, count };
        let cases = [
            ("by name", "a:100:5\nb:200:5\n", vec![range(100, 5)]),
            (
                "by number, twice",
                "7:100:5\na:9:1",
                vec![range(100, 5), range(9, 1)],
            ),
            ("nobody's", "b:200:5", vec![]),
            ("no number", "a:x:5\na:1\na", vec![]),
            ("nothing in it", "a:100:0", vec![]),
            ("beyond the last id", "a:4294967290:100", vec![]),
            ("of one whose name only ends so", "ba:100:5", vec![]),
            ("nothing", "", vec![]),
        ];
        for (why, text, expected) in cases {
            assert_eq!(parse_ranges(text, Some("a"), 7), expected, "{why}");
        }
    }

    #[test]
    fn ids_of_a_namespace_but_root() {
        let range = |first, count| Range { first, count };
        let cases = [
            ("root alone", vec![(0, 1000, 1)], vec![]),
            (
                "root and others",
                vec![(0, 1000, 1), (1, 100_000, 65536)],
                vec![range(1, 65536)],
            ),
            ("in one", vec![(0, 100_000, 65536)], vec![range(1, 65535)]),
        ];
        for (why, ids, expected) in cases {
            assert_eq!(others(&ids), expected, "{why}");
        }
    }

    #[test]
    fn subordinate_ids_follow_root() {
        let range = |first, count| Range { first, count };
        let map = map_of(1000, &[range(100_000, 65536), range(7, 3)]);
        assert_eq!(map.join(" "), "0 1000 1 1 100000 65536 65537 7 3");
        assert_eq!(lines_of(&map), "0 1000 1\n1 100000 65536\n65537 7 3\n");
    }
}
