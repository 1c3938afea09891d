//! The ids that processes have given themselves, by the rules of the kernel, though none of
//! them has another than root's.
//!
//! A process that has said nothing has what its parent has, or had when it was last asked.

use std::collections::HashMap;

use rustix::io::Errno;

use super::process::{Memory, Status, start_time};
use super::{Answer, word};

/// What leaves an id as it is.
const SAME: u32 = u32::MAX;

/// The most groups that a process can have (`NGROUPS_MAX`).
const MOST_GROUPS: u32 = 65536;

/// How far up is looked for a process that is known.
const DEPTH: usize = 64;

/// How many processes are remembered before those that have ended are forgotten.
const REMEMBERED: usize = 256;

/// The real, the effective and the saved id.
type Triple = [u32; 3];

/// What a process takes itself for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    users: Triple,
    groups: Triple,
    further: Vec<u32>,
}

/// What a process wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// `setuid`.
    User(u32),
    /// `setgid`.
    Group(u32),
    /// `setreuid`.
    Users(u32, u32),
    /// `setregid`.
    Groups(u32, u32),
    /// `setresuid`.
    AllUsers(Triple),
    /// `setresgid`.
    AllGroups(Triple),
    /// `setgroups`.
    Further(Vec<u32>),
}

impl Change {
    /// Returns what a call is to change, if it is one of these.
    pub(super) fn of(number: i64, pid: u32, args: &[u64; 6]) -> Result<Option<Self>, Errno> {
        let [one, two, three] = [args[0], args[1], args[2]].map(word);
        Ok(Some(match number {
            libc::SYS_setuid => Self::User(one),
            libc::SYS_setgid => Self::Group(one),
            libc::SYS_setreuid => Self::Users(one, two),
            libc::SYS_setregid => Self::Groups(one, two),
            libc::SYS_setresuid => Self::AllUsers([one, two, three]),
            libc::SYS_setresgid => Self::AllGroups([one, two, three]),
            libc::SYS_setgroups if one > MOST_GROUPS => return Err(Errno::INVAL),
            libc::SYS_setgroups => {
                let count = usize::try_from(one).unwrap_or_default();
                Self::Further(Memory::of(pid).words(args[1], count)?)
            }
            _ => return Ok(None),
        }))
    }
}

impl Credentials {
    fn is_root(&self) -> bool {
        self.users[1] == 0
    }

    fn change(&mut self, change: &Change) -> Result<(), Errno> {
        let may = self.is_root();
        match change {
            Change::User(id) => set_one(&mut self.users, *id, may),
            Change::Group(id) => set_one(&mut self.groups, *id, may),
            Change::Users(real, effective) => set_two(&mut self.users, *real, *effective, may),
            Change::Groups(real, effective) => set_two(&mut self.groups, *real, *effective, may),
            Change::AllUsers(ids) => set_all(&mut self.users, *ids, may),
            Change::AllGroups(ids) => set_all(&mut self.groups, *ids, may),
            Change::Further(ids) if may => {
                self.further.clone_from(ids);
                Ok(())
            }
            Change::Further(_) => Err(Errno::PERM),
        }
    }
}

/// As `setuid`: root changes all three.
fn set_one(ids: &mut Triple, id: u32, may: bool) -> Result<(), Errno> {
    let [real, _, saved] = *ids;
    match id {
        SAME => Err(Errno::INVAL),
        id if may => {
            *ids = [id; 3];
            Ok(())
        }
        id if id == real || id == saved => {
            ids[1] = id;
            Ok(())
        }
        _ => Err(Errno::PERM),
    }
}

/// As `setreuid`: the saved id follows the effective one when the real one is set, or the
/// effective one to another than the real one.
fn set_two(ids: &mut Triple, real: u32, effective: u32, may: bool) -> Result<(), Errno> {
    let [old_real, old_effective, old_saved] = *ids;
    let real_is_known = [SAME, old_real, old_effective].contains(&real);
    let effective_is_known = [SAME, old_real, old_effective, old_saved].contains(&effective);
    let is_known = real_is_known && effective_is_known;
    if !(may || is_known) {
        return Err(Errno::PERM);
    }
    let pick = |new: u32, old: u32| if new == SAME { old } else { new };
    ids[0] = pick(real, old_real);
    ids[1] = pick(effective, old_effective);
    if real != SAME || (effective != SAME && effective != old_real) {
        ids[2] = ids[1];
    }
    Ok(())
}

/// As `setresuid`.
fn set_all(ids: &mut Triple, new: Triple, may: bool) -> Result<(), Errno> {
    let old = *ids;
    if !may && !new.iter().all(|id| *id == SAME || old.contains(id)) {
        return Err(Errno::PERM);
    }
    for (id, new) in ids.iter_mut().zip(new) {
        if new != SAME {
            *id = new;
        }
    }
    Ok(())
}

/// The processes that have given themselves other ids.
#[derive(Debug, Default)]
pub(super) struct Table(HashMap<u32, (u64, Credentials)>);

impl Table {
    /// Returns whether a process takes itself for root.
    pub(super) fn is_root(&self, pid: u32) -> bool {
        self.find(pid).is_none_or(Credentials::is_root)
    }

    /// Does what a process wants of its own ids.
    pub(super) fn change(&mut self, pid: u32, change: &Change) -> Result<(), Errno> {
        let process = Status::of(pid)?.process;
        let mut credentials = self.find(pid).cloned().unwrap_or_default();
        credentials.change(change)?;
        if self.0.len() >= REMEMBERED {
            self.0
                .retain(|pid, (start, _)| start_time(*pid) == Ok(*start));
        }
        self.0.insert(process, (start_time(process)?, credentials));
        Ok(())
    }

    /// Tells a process what it takes itself for; one that never said lets the kernel tell.
    pub(super) fn tell(&self, pid: u32, number: i64, args: &[u64; 6]) -> Result<Answer, Errno> {
        let Some(credentials) = self.find(pid) else {
            return Ok(Answer::Continue);
        };
        let put_all = |ids: Triple| {
            let memory = Memory::of(pid);
            for (address, id) in args.iter().zip(ids) {
                memory.put(*address, &[id])?;
            }
            Ok(Answer::Done(0))
        };
        let one = |id: u32| Ok(Answer::Done(i64::from(id)));
        match number {
            libc::SYS_getuid => one(credentials.users[0]),
            libc::SYS_geteuid => one(credentials.users[1]),
            libc::SYS_getgid => one(credentials.groups[0]),
            libc::SYS_getegid => one(credentials.groups[1]),
            libc::SYS_getresuid => put_all(credentials.users),
            libc::SYS_getresgid => put_all(credentials.groups),
            libc::SYS_getgroups => {
                let further = &credentials.further;
                let room =
                    usize::try_from(word(args[0]).cast_signed()).map_err(|_| Errno::INVAL)?;
                if room > 0 {
                    if room < further.len() {
                        return Err(Errno::INVAL);
                    }
                    Memory::of(pid).put(args[1], further)?;
                }
                Ok(Answer::Done(
                    i64::try_from(further.len()).unwrap_or_default(),
                ))
            }
            _ => Ok(Answer::Continue),
        }
    }

    /// Returns what is known of a process, or of the nearest one above it.
    fn find(&self, pid: u32) -> Option<&Credentials> {
        if self.0.is_empty() {
            return None;
        }
        let mut at = Status::of(pid).ok()?;
        for _ in 0..DEPTH {
            if let Some((start, credentials)) = self.0.get(&at.process)
                && start_time(at.process) == Ok(*start)
            {
                return Some(credentials);
            }
            at = Status::of(at.parent).ok()?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_change_by_the_rules_of_the_kernel() {
        let root = [0, 0, 0];
        let daemon = [0, 33, 0];
        let user = [33, 33, 33];
        let cases = [
            (
                "root becomes another for good",
                root,
                Change::User(33),
                Ok(user),
            ),
            (
                "and back is not possible",
                user,
                Change::User(0),
                Err(Errno::PERM),
            ),
            (
                "for a while",
                root,
                Change::AllUsers([SAME, 33, SAME]),
                Ok(daemon),
            ),
            (
                "and back",
                daemon,
                Change::AllUsers([SAME, 0, SAME]),
                Ok(root),
            ),
            ("back by setuid", daemon, Change::User(0), Ok(root)),
            (
                "the saved id follows",
                root,
                Change::Users(33, 33),
                Ok(user),
            ),
            ("or does not", root, Change::Users(SAME, 0), Ok(root)),
            (
                "nobody known",
                daemon,
                Change::Users(7, SAME),
                Err(Errno::PERM),
            ),
            ("no id", root, Change::User(SAME), Err(Errno::INVAL)),
        ];
        for (why, users, change, expected) in cases {
            let mut credentials = Credentials {
                users,
                ..Credentials::default()
            };
            let outcome = credentials.change(&change);
            assert_eq!(outcome.map(|()| credentials.users), expected, "{why}");
        }
        let mut user = Credentials {
            users: user,
            ..Credentials::default()
        };
        for change in [Change::Group(5), Change::Further(vec![5])] {
            assert_eq!(user.change(&change), Err(Errno::PERM), "{change:?}");
        }
    }
}
