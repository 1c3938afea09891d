//! Who runs a command: `user[:group]` as an image says, by `/etc/passwd` and `/etc/group`.
//!
//! No link in the root leads the look-up out of it. They
//! are read as far as is reasonable, and lines that make no sense are passed over.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::RunError;
use super::ids::read_bounded;

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Further groups.
    pub(super) groups: Vec<u32>,
    /// The home directory, where the user has one.
    pub(super) home: Option<String>,
}

impl User {
    /// Looks up who is meant in the files of a root.
    pub(super) fn look_up(root: impl AsFd, spec: &str) -> Result<Self, RunError> {
        let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let read = |path: &str| {
            let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let file = openat2(&root, path, how, Mode::empty(), within);
            // A file that is missing or cannot be read names nobody.
            file.map_err(io::Error::from)
                .and_then(|file| read_bounded(File::from(file)))
                .unwrap_or_default()
        };
        Self::find(spec, &read("etc/passwd"), &read("etc/group"))
    }

    fn find(spec: &str, passwd: &str, group: &str) -> Result<Self, RunError> {
        let (user, wanted_group) = match spec.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (spec, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let account = passwd.lines().filter_map(Account::parse).find(|account| {
            account.name == user || user.parse::<u32>().is_ok_and(|uid| account.uid == uid)
        });
        let unknown = |kind, name: &str| RunError::NoSuchName {
            kind,
            name: name.to_owned(),
        };
        let uid = match &account {
            Some(account) => account.uid,
            None => number(user).ok_or_else(|| unknown("user", user))?,
        };
        let gid = match wanted_group {
            None => account.as_ref().map_or(0, |account| account.gid),
            Some(wanted) => group
                .lines()
                .filter_map(Group::parse)
                .find(|group| group.name == wanted)
                .map(|group| group.gid)
                .or_else(|| number(wanted))
                .ok_or_else(|| unknown("group", wanted))?,
        };
        let groups = match (&account, wanted_group) {
            (Some(account), None) => group
                .lines()
                .filter_map(Group::parse)
                .filter(|group| group.members.split(',').any(|name| name == account.name))
                .map(|group| group.gid)
                .collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            uid,
            gid,
            groups,
            home: account.map(|account| account.home.to_owned()),
        })
    }
}

/// A line of `/etc/passwd`.
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        Some(Self {
            name: fields.next().filter(|name| !name.is_empty())?,
            uid: number(fields.nth(1)?)?,
            gid: number(fields.next()?)?,
            home: fields.nth(1).unwrap_or_default(),
        })
    }
}

/// A line of `/etc/group`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        Some(Self {
            name: fields.next().filter(|name| !name.is_empty())?,
            gid: number(fields.nth(1)?)?,
            members: fields.next().unwrap_or_default(),
        })
    }
}

/// Returns an id; the greatest number is none.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        nonsense\n\
        app:x:1000:1001:App:/srv/app:/bin/sh\n\
        7:x:70:71::/:\n\
        far:x:4294967295:0::/:\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,root\naudio:x:29:app\nbad:x:y:app\n";

    #[test]
    fn who_is_meant() {
        let cases = [
            ("nobody said", "", Ok((0, 0, vec![50], Some("/root")))),
            (
                "a name",
                "app",
                Ok((1000, 1001, vec![50, 29], Some("/srv/app"))),
            ),
            (
                "a number of one",
                "1000",
                Ok((1000, 1001, vec![50, 29], Some("/srv/app"))),
            ),
            ("a number of nobody", "1234", Ok((1234, 0, vec![], None))),
            (
                "a group by name",
                "app:audio",
                Ok((1000, 29, vec![], Some("/srv/app"))),
            ),
            ("a group by number", "1234:77", Ok((1234, 77, vec![], None))),
            (
                "a group alone",
                ":staff",
                Ok((0, 50, vec![], Some("/root"))),
            ),
            (
                "an empty group",
                "app:",
                Ok((1000, 1001, vec![50, 29], Some("/srv/app"))),
            ),
            ("a name of digits", "7", Ok((70, 71, vec![], Some("/")))),
            (
                "no such user",
                "nope",
                Err("the image has no user called \"nope\""),
            ),
            (
                "no such group",
                "app:nope",
                Err("the image has no group called \"nope\""),
            ),
            (
                "an id that is none",
                "far",
                Err("the image has no user called \"far\""),
            ),
            (
                "the greatest number",
                "4294967295",
                Err("the image has no user called \"4294967295\""),
            ),
        ];
        for (why, spec, expected) in cases {
            let found = User::find(spec, PASSWD, GROUP)
                .map(|user| (user.uid, user.gid, user.groups, user.home))
                .map_err(|error| error.to_string());
            let expected = expected
                .map(|(uid, gid, groups, home)| (uid, gid, groups, home.map(str::to_owned)))
                .map_err(str::to_owned);
            assert_eq!(found, expected, "{why}");
        }
    }
}
