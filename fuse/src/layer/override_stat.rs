//! Owner, mode and type of an inode in an extended attribute of it, for stores whose
//! file system or user cannot have the real ones: `uid:gid:mode[:type]`.
//!
//! fuse-overlayfs writes the first three with `xattr_permissions`, containers/storage
//! all four with `force_mask`. Pure rules over values.

use std::borrow::Cow;

use crate::{Attr, FileType};

/// The prefix of attributes that only the security modules of the kernel may write.
const SECURITY: &[u8] = b"security.";
/// What [`SECURITY`] is in a layer with [`OverrideName::Containers`].
const STORED_SECURITY: &[u8] = b"user.containers.override_security.";
/// The bits of a mode that a value gives; the type is said in another way.
const PERMISSIONS: u32 = 0o7777;

/// The names that the attribute can have. A layer uses the one that its root has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverrideName {
    /// `security.fuseoverlayfs.override_stat`, which only root can write.
    Privileged,
    /// `user.containers.override_stat`. Attributes of the kernel's security modules are
    /// then under a name of users too.
    Containers,
    /// `user.fuseoverlayfs.override_stat`.
    FuseOverlayfs,
}

/// What a value says of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverrideStat {
    /// The owner.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
    /// The permission bits, set-id and sticky bits included.
    pub(crate) permissions: u32,
    /// What the inode is, where the value says it.
    pub(crate) kind: Option<OverrideKind>,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverrideKind {
    /// Anything but a device.
    Plain(FileType),
    /// A character device with this number, as of [`Attr::rdev`].
    Char(u32),
    /// A block device with this number.
    Block(u32),
}

impl OverrideName {
    /// Returns which name a layer uses, given those of the attributes of its root.
    pub(crate) fn of_root(names: &[Vec<u8>]) -> Option<Self> {
        [Self::Privileged, Self::Containers, Self::FuseOverlayfs]
            .into_iter()
            .find(|name| names.iter().any(|known| known == name.as_bytes()))
    }

    /// Returns the name.
    pub(crate) fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Privileged => b"security.fuseoverlayfs.override_stat",
            Self::Containers => b"user.containers.override_stat",
            Self::FuseOverlayfs => b"user.fuseoverlayfs.override_stat",
        }
    }

    /// Returns the name under which an attribute of such a layer is shown, or `None`
    /// where it is hidden, as the one that says what inodes are.
    pub(crate) fn shown_xattr(self, stored: &[u8]) -> Option<Cow<'_, [u8]>> {
        if stored == self.as_bytes() {
            return None;
        }
        if self != Self::Containers {
            return Some(Cow::Borrowed(stored));
        }
        match stored.strip_prefix(STORED_SECURITY) {
            Some(rest) => Some(Cow::Owned([SECURITY, rest].concat())),
            // Of the host and not of the image, which has it under the other name.
            None if stored.starts_with(SECURITY) => None,
            None => Some(Cow::Borrowed(stored)),
        }
    }

    /// Returns the name that such a layer has for a shown attribute, the inverse of
    /// [`Self::shown_xattr`].
    pub(crate) fn stored_xattr(self, shown: &[u8]) -> Option<Cow<'_, [u8]>> {
        if shown == self.as_bytes() {
            return None;
        }
        if self != Self::Containers {
            return Some(Cow::Borrowed(shown));
        }
        match shown.strip_prefix(SECURITY) {
            Some(rest) => Some(Cow::Owned([STORED_SECURITY, rest].concat())),
            None if shown.starts_with(STORED_SECURITY) => None,
            None => Some(Cow::Borrowed(shown)),
        }
    }
}

impl OverrideStat {
    /// Reads a value; `None` where it makes no sense.
    pub(crate) fn of_value(value: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let mut fields = value.trim_end_matches('\0').split(':');
        let uid = id(fields.next()?)?;
        let gid = id(fields.next()?)?;
        let mode = digits(fields.next()?, 8)?;
        let kind = match fields.next() {
            Some(kind) => Some(OverrideKind::of_value(kind)?),
            None => None,
        };
        fields.next().is_none().then_some(Self {
            uid,
            gid,
            permissions: mode & PERMISSIONS,
            kind,
        })
    }

    /// Returns the value that says this.
    pub(crate) fn to_value(self) -> Vec<u8> {
        let Self {
            uid,
            gid,
            permissions,
            kind,
        } = self;
        let kind = kind.map_or(String::new(), |kind| format!(":{}", kind.to_value()));
        format!("{uid}:{gid}:{permissions:04o}{kind}").into_bytes()
    }

    /// Returns the attributes that an inode is shown with, given those of the file
    /// system; `None` where the value says of it what it cannot be.
    ///
    /// Only regular files stand for other things, and they not for directories. A
    /// directory remains one, whatever the value says.
    pub(crate) fn apply(self, real: Attr) -> Option<Attr> {
        let file_type = FileType::of_mode(real.mode)?;
        let (file_type, rdev) = match (file_type, self.kind) {
            (FileType::Directory, _) => (FileType::Directory, 0),
            (FileType::Regular, None) => (FileType::Regular, 0),
            (FileType::Regular, Some(OverrideKind::Plain(FileType::Directory))) => return None,
            (FileType::Regular, Some(kind)) => kind.file_type_and_rdev(),
            _ => return Some(real),
        };
        let has_size = matches!(
            file_type,
            FileType::Regular | FileType::Directory | FileType::Symlink
        );
        Some(Attr {
            mode: file_type.mode_bits() | self.permissions,
            uid: self.uid,
            gid: self.gid,
            rdev,
            size: if has_size { real.size } else { 0 },
            ..real
        })
    }
}

impl OverrideKind {
    fn of_value(value: &str) -> Option<Self> {
        Some(match value {
            "file" => Self::Plain(FileType::Regular),
            "dir" => Self::Plain(FileType::Directory),
            "symlink" => Self::Plain(FileType::Symlink),
            "pipe" => Self::Plain(FileType::Fifo),
            "socket" => Self::Plain(FileType::Socket),
            device => {
                let (kind, numbers) = device.split_once('-')?;
                let (major, minor) = numbers.split_once('-')?;
                let rdev = rdev(digits(major, 10)?, digits(minor, 10)?)?;
                match kind {
                    "char" => Self::Char(rdev),
                    "block" => Self::Block(rdev),
                    _ => return None,
                }
            }
        })
    }

    fn to_value(self) -> String {
        let device = |kind, rdev: u32| {
            let (major, minor) = (rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & 0xf_ff00);
            format!("{kind}-{major}-{minor}")
        };
        match self {
            Self::Char(rdev) => device("char", rdev),
            Self::Block(rdev) => device("block", rdev),
            Self::Plain(file_type) => match file_type {
                FileType::Directory => "dir",
                FileType::Symlink => "symlink",
                FileType::Fifo => "pipe",
                FileType::Socket => "socket",
                FileType::Regular | FileType::CharDevice | FileType::BlockDevice => "file",
            }
            .to_owned(),
        }
    }

    fn file_type_and_rdev(self) -> (FileType, u32) {
        match self {
            Self::Plain(file_type) => (file_type, 0),
            Self::Char(rdev) => (FileType::CharDevice, rdev),
            Self::Block(rdev) => (FileType::BlockDevice, rdev),
        }
    }
}

/// Reads a user or group; those from 2^31 on were written as negative numbers too.
fn id(field: &str) -> Option<u32> {
    match field.strip_prefix('-') {
        Some(negative) => {
            let value = digits(negative, 10)?;
            (value <= 1 << 31).then(|| value.wrapping_neg())
        }
        None => digits(field, 10),
    }
}

fn digits(field: &str, radix: u32) -> Option<u32> {
    let is_digits = field.chars().all(|digit| digit.is_digit(radix));
    is_digits
        .then(|| u32::from_str_radix(field, radix).ok())
        .flatten()
}

fn rdev(major: u32, minor: u32) -> Option<u32> {
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

/// Returns what a symbolic link is shown as, which can have no value: one that belongs to the
/// user of this process stands for one of root's.
pub(crate) fn without_value(attr: Attr) -> Attr {
    let is_own = attr.uid == rustix::process::geteuid().as_raw();
    if FileType::of_mode(attr.mode) != Some(FileType::Symlink) || !is_own {
        return attr;
    }
    Attr {
        uid: 0,
        gid: 0,
        ..attr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ino, Timestamp};

    fn stat(uid: u32, gid: u32, permissions: u32, kind: Option<OverrideKind>) -> OverrideStat {
        OverrideStat {
            uid,
            gid,
            permissions,
            kind,
        }
    }

    fn attr(file_type: FileType) -> Attr {
        let time = Timestamp::default();
        Attr {
            ino: Ino(9),
            size: 7,
            blocks: 8,
            atime: time,
            mtime: time,
            ctime: time,
            mode: file_type.mode_bits() | 0o755,
            nlink: 1,
            uid: 1000,
            gid: 1000,
            rdev: 0,
        }
    }

    #[test]
    fn values_are_read_and_written() {
        use FileType::{Directory, Fifo, Regular, Socket, Symlink};
        use OverrideKind::{Block, Char, Plain};
        for (value, expected) in [
            ("0:0:0755", stat(0, 0, 0o755, None)),
            ("1:2:4755:file", stat(1, 2, 0o4755, Some(Plain(Regular)))),
            ("1:2:0700:dir", stat(1, 2, 0o700, Some(Plain(Directory)))),
            ("1:2:0777:symlink", stat(1, 2, 0o777, Some(Plain(Symlink)))),
            ("1:2:0600:pipe", stat(1, 2, 0o600, Some(Plain(Fifo)))),
            ("1:2:0600:socket", stat(1, 2, 0o600, Some(Plain(Socket)))),
            ("0:6:0666:char-1-3", stat(0, 6, 0o666, Some(Char(0x103)))),
            (
                "0:6:0660:block-259-70000",
                stat(0, 6, 0o660, Some(Block(0x1111_0370))),
            ),
            ("4294967294:1:0000", stat(4_294_967_294, 1, 0, None)),
        ] {
            assert_eq!(
                OverrideStat::of_value(value.as_bytes()),
                Some(expected),
                "{value}"
            );
            assert_eq!(expected.to_value(), value.as_bytes());
        }
    }

    #[test]
    fn values_of_other_writers_are_read() {
        for (why, value, expected) in [
            ("no leading zero", "0:0:755", stat(0, 0, 0o755, None)),
            ("a type in the mode", "0:0:100644", stat(0, 0, 0o644, None)),
            (
                "a signed owner",
                "-2:0:755",
                stat(u32::MAX - 1, 0, 0o755, None),
            ),
            ("a string's end", "0:0:755\0", stat(0, 0, 0o755, None)),
        ] {
            assert_eq!(
                OverrideStat::of_value(value.as_bytes()),
                Some(expected),
                "{why}"
            );
        }
    }

    #[test]
    fn nonsense_is_no_value() {
        for value in [
            "",
            "0",
            "0:0",
            "0:0:",
            ":0:755",
            "0:0:9",
            "0:0:+7",
            "a:0:755",
            "0:0:755:",
            "0:0:755:door",
            "0:0:755:file:more",
            "0:0:755:char",
            "0:0:755:char1:3",
            "0:0:755:char-1",
            "0:0:755:char-1-3-5",
            "0:0:755:char-4096-0",
            "0:0:755:block-0-1048576",
            "4294967296:0:755",
            "-2147483649:0:755",
            "--1:0:755",
        ] {
            assert_eq!(OverrideStat::of_value(value.as_bytes()), None, "{value}");
        }
        assert_eq!(OverrideStat::of_value(b"\xff:0:755"), None);
    }

    #[test]
    fn only_regular_files_stand_for_others() {
        let value = |kind| stat(3, 4, 0o4711, Some(kind));
        let shown = |real, kind| value(kind).apply(attr(real)).map(|attr| attr.mode);
        let device = OverrideKind::Char(0x103);
        let directory = OverrideKind::Plain(FileType::Directory);
        for (why, real, kind, expected) in [
            ("a device", FileType::Regular, device, Some(0o2_4711)),
            ("no directory", FileType::Regular, directory, None),
            ("remains one", FileType::Directory, device, Some(0o4_4711)),
            ("is what it is", FileType::Fifo, device, Some(0o1_0755)),
        ] {
            assert_eq!(shown(real, kind), expected, "{why}");
        }
        let attr = value(device).apply(attr(FileType::Regular)).unwrap();
        assert_eq!((attr.uid, attr.gid, attr.rdev, attr.size), (3, 4, 0x103, 0));
    }

    #[test]
    fn the_root_says_which_name_counts() {
        let names = |names: &[&[u8]]| {
            let names: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
            OverrideName::of_root(&names)
        };
        let [privileged, containers, plain] = [
            OverrideName::Privileged,
            OverrideName::Containers,
            OverrideName::FuseOverlayfs,
        ];
        assert_eq!(names(&[b"user.a"]), None);
        assert_eq!(names(&[plain.as_bytes()]), Some(plain));
        assert_eq!(
            names(&[plain.as_bytes(), containers.as_bytes()]),
            Some(containers)
        );
        assert_eq!(
            names(&[containers.as_bytes(), privileged.as_bytes()]),
            Some(privileged)
        );
    }

    #[test]
    fn security_attributes_have_another_name() {
        let stored = b"user.containers.override_security.capability";
        for (name, stored, shown) in [
            (
                OverrideName::Containers,
                &stored[..],
                Some(&b"security.capability"[..]),
            ),
            (OverrideName::Containers, b"security.selinux", None),
            (OverrideName::Containers, b"user.a", Some(b"user.a")),
            (
                OverrideName::Privileged,
                b"security.selinux",
                Some(b"security.selinux"),
            ),
            (OverrideName::FuseOverlayfs, stored, Some(stored)),
        ] {
            assert_eq!(name.shown_xattr(stored).as_deref(), shown);
            if let Some(shown) = shown {
                assert_eq!(name.stored_xattr(shown).as_deref(), Some(stored));
            }
        }
        assert_eq!(OverrideName::Containers.stored_xattr(stored), None);
    }
}
