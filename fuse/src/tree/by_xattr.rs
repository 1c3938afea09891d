//! What root of a user namespace says by attributes, since the kernel takes it from nobody
//! but the machine's: owners that there are none of inside, and devices.
//!
//! - To set `security.mica.owner`, `uid:gid` on disk, changes the owner as `chown` does; the
//!   greatest number leaves one as it is.
//! - To set `security.mica.node` of a directory, `mode:rdev:umask:name`, makes a device there as
//!   `mknod` does. The kernel must not know the name yet, so that there is nothing to tell it.
//!
//! Attributes of that prefix are for root of the namespace that has mounted alone (xattr(7)).

use rustix::io::Errno;

use super::{Tree, appearance};
use crate::{Error, Operation, Reply, Request, Result, SetAttr};

const OWNER: &[u8] = b"security.mica.owner";
const NODE: &[u8] = b"security.mica.node";

impl Tree {
    /// Answers a request that is about such an attribute.
    pub(super) fn answer_by_xattr(&self, request: &Request<'_>) -> Option<Result<Reply<'_>>> {
        match request.operation {
            Operation::SetXattr { name, value, .. } if name == OWNER => {
                Some(self.set_owner(request, value))
            }
            Operation::SetXattr { name, value, .. } if name == NODE => {
                Some(self.make_node(request, value))
            }
            _ => None,
        }
    }

    fn set_owner(&self, request: &Request<'_>, value: &[u8]) -> Result<Reply<'_>> {
        let (uid, gid) = owner_of(value).ok_or(Error::Refused(Errno::INVAL))?;
        let is_id = |id: &u32| *id != u32::MAX;
        let set = SetAttr {
            uid: Some(uid).filter(is_id),
            gid: Some(gid).filter(is_id),
            kill_privileges: true,
            ..SetAttr::default()
        };
        let operation = Operation::SetAttr(set);
        let reply = self.answer_on_disk(&Request {
            operation,
            ..*request
        })?;
        // Whoever keeps owners learns of it; the kernel is told that it is done.
        appearance::shown(&self.appearance, reply);
        Ok(Reply::Done)
    }

    fn make_node(&self, request: &Request<'_>, value: &[u8]) -> Result<Reply<'_>> {
        let operation = node_of(value).ok_or(Error::Refused(Errno::INVAL))?;
        let reply = self.answer_on_disk(&Request {
            operation,
            ..*request
        })?;
        if let Reply::Entry(entry) = reply {
            // The kernel has not learnt of it, so that it will not give it back.
            self.answer_on_disk(&Request {
                node: entry.node,
                operation: Operation::Forget { lookups: 1 },
                ..*request
            })?;
        }
        Ok(Reply::Done)
    }
}

fn owner_of(value: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

fn node_of(value: &[u8]) -> Option<Operation<'_>> {
    let mut fields = value.splitn(4, |byte| *byte == b':');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (mode, rdev, umask): (u32, u32, u32) = (number()?, number()?, number()?);
    let name = fields.next()?;
    let is_device = matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK);
    let is_name = !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..";
    (is_device && is_name).then_some(Operation::MkNod {
        name,
        mode,
        rdev,
        umask,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_make_sense() {
        let cases = [
            ("both", &b"33:42"[..], Some((33, 42))),
            ("one as it is", &b"4294967295:0"[..], Some((u32::MAX, 0))),
            ("one alone", &b"33"[..], None),
            ("no number", &b"a:b"[..], None),
        ];
        for (why, value, expected) in cases {
            assert_eq!(owner_of(value), expected, "{why}");
        }
        let device = Operation::MkNod {
            name: b"a:b",
            mode: 0o020_644,
            rdev: 259,
            umask: 18,
        };
        let cases: [(&str, &[u8], Option<Operation<'_>>); 6] = [
            ("a device", b"8612:259:18:a:b", Some(device)),
            ("a file", b"33188:0:18:a", None),
            ("no name", b"8612:259:18:", None),
            ("a path", b"8612:259:18:a/b", None),
            ("the directory above", b"8612:259:18:..", None),
            ("cut off", b"8612:259:18", None),
        ];
        for (why, value, expected) in cases {
            assert_eq!(node_of(value), expected, "{why}");
        }
    }
}
