//! Options as they come in, before it is known whether all that is needed is there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use mica_fuse::session::Transport;
use mica_fuse::{IdMap, IdMaps};

use super::{Flags, LONGEST_TIMEOUT, OverlayOptions, StatOverride, UpperPaths};
use crate::overlay::escape::{split_at_colons, unescape};
use crate::overlay::{OverlayError, idmap};

/// What the options so far have set.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(in crate::overlay) struct Draft {
    lower: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    redirect: Option<OsString>,
    users: OsString,
    groups: OsString,
    squash: Squash,
    xattr_permissions: i64,
    xattrs: bool,
    acl: bool,
    static_nlink: bool,
    ino32: bool,
    timeout: Duration,
    fsync: bool,
    volatile: bool,
    writeback: Option<bool>,
    transport: Transport,
    flags: Flags,
}

/// Whose everything is shown as; a number wins over `root`.
#[derive(Debug, Default)]
struct Squash {
    root: bool,
    user: Option<u32>,
    group: Option<u32>,
}

impl Draft {
    pub(in crate::overlay) fn new(flags: Flags) -> Self {
        Self {
            lower: Vec::new(),
            upper: None,
            work: None,
            redirect: None,
            users: OsString::new(),
            groups: OsString::new(),
            squash: Squash::default(),
            xattr_permissions: 0,
            xattrs: true,
            acl: true,
            static_nlink: false,
            ino32: false,
            timeout: Duration::from_secs_f64(LONGEST_TIMEOUT),
            fsync: true,
            volatile: false,
            writeback: None,
            transport: Transport::default(),
            flags,
        }
    }

    /// Takes one option; `false` if it is none of fuse-overlayfs.
    pub(in crate::overlay) fn set(&mut self, option: &[u8]) -> Result<bool, OverlayError> {
        let mut parts = option.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        match parts.next() {
            None => Ok(self.set_flag(name)),
            Some(value) => self
                .set_value(name, value)
                .ok_or_else(|| OverlayError::Parameter(OsStr::from_bytes(option).to_owned())),
        }
    }

    fn set_flag(&mut self, name: &[u8]) -> bool {
        match name {
            b"squash_to_root" => self.squash.root = true,
            b"static_nlink" => self.static_nlink = true,
            b"ino32_t" => self.ino32 = true,
            b"noacl" => self.acl = false,
            b"volatile" => self.volatile = true,
            b"fast_ino_check" => {}
            _ => return self.flags.set(name),
        }
        true
    }

    /// Returns whether the option is known, and `None` if it cannot have this value.
    fn set_value(&mut self, name: &[u8], value: &[u8]) -> Option<bool> {
        match name {
            b"lowerdir" => self.lower = split_at_colons(value),
            b"upperdir" => self.upper = path(value),
            b"workdir" => self.work = path(value),
            b"redirect_dir" => self.redirect = Some(OsStr::from_bytes(value).to_owned()),
            b"uidmapping" => self.users = unescape(value).into(),
            b"gidmapping" => self.groups = unescape(value).into(),
            b"squash_to_uid" => self.squash.user = u32::try_from(id(value)?).ok(),
            b"squash_to_gid" => self.squash.group = u32::try_from(id(value)?).ok(),
            b"xattr_permissions" => {
                self.xattr_permissions = number(value).filter(|mode| (0..=2).contains(mode))?;
            }
            b"noxattrs" => self.xattrs = number(value)? == 0,
            b"timeout" => self.timeout = seconds(value)?,
            b"fsync" | b"sync" => self.fsync = number(value)? != 0,
            b"transport" => self.transport = transport(value)?,
            b"writeback" => self.writeback = Some(number(value)? != 0),
            // What makes no difference here. No labels are given, inode numbers last, and
            // the threads are always several.
            b"threaded" | b"fast_ino" => {
                number(value)?;
            }
            b"xino" if matches!(value, b"off" | b"auto" | b"on") => {}
            b"context" | b"plugins" | b"max_write" => {}
            _ => return Some(false),
        }
        Some(true)
    }

    /// Returns the options, if they are enough for a mount.
    pub(in crate::overlay) fn finish(
        self,
        mountpoint: Option<PathBuf>,
    ) -> Result<OverlayOptions, OverlayError> {
        if let Some(value) = self.redirect.filter(|value| value != "off") {
            return Err(OverlayError::Redirect(value));
        }
        let mountpoint = mountpoint.ok_or(OverlayError::NoMountpoint)?;
        if self.lower.is_empty() {
            return Err(OverlayError::NoLower);
        }
        if let Some(plugin) = self.lower.iter().find(|path| names_plugin(path)) {
            return Err(OverlayError::Plugin(plugin.clone()));
        }
        let upper = match (self.upper, self.work) {
            (Some(upper), Some(work)) => Some(UpperPaths { upper, work }),
            (Some(_), None) => return Err(OverlayError::NoWork),
            (None, _) => None,
        };
        let root = self.squash.root.then_some(0);
        Ok(OverlayOptions {
            lower: self.lower,
            upper,
            mountpoint,
            ids: IdMaps {
                users: squashed(idmap::parse(&self.users)?, self.squash.user.or(root)),
                groups: squashed(idmap::parse(&self.groups)?, self.squash.group.or(root)),
            },
            xattr_permissions: match self.xattr_permissions {
                1 => Some(StatOverride::Privileged),
                2 => Some(StatOverride::Containers),
                _ => None,
            },
            xattrs: self.xattrs,
            acl: self.acl,
            static_nlink: self.static_nlink,
            ino32: self.ino32,
            timeout: self.timeout,
            syncs: self.fsync && !self.volatile,
            writeback: self.writeback,
            transport: self.transport,
            flags: self.flags,
            foreground: false,
            debug: false,
        })
    }
}

fn squashed(map: IdMap, id: Option<u32>) -> IdMap {
    match id {
        Some(id) => map.squashed_to(id),
        None => map,
    }
}

/// `//PLUGIN/DATA/PATH` is a layer that a plugin serves.
fn names_plugin(path: &std::path::Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"//")
}

/// An empty path is none, as if the option were not there.
fn path(value: &[u8]) -> Option<PathBuf> {
    Some(unescape(value)).filter(|path| !path.as_os_str().is_empty())
}

fn transport(value: &[u8]) -> Option<Transport> {
    match value {
        b"auto" => Some(Transport::Auto),
        b"ring" => Some(Transport::Ring),
        b"poll" => Some(Transport::Poll),
        b"block" => Some(Transport::Block),
        _ => None,
    }
}

fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Returns a number that an id can be, or -1, which is none.
fn id(value: &[u8]) -> Option<i64> {
    number(value).filter(|id| (-1..i64::from(u32::MAX)).contains(id))
}

fn seconds(value: &[u8]) -> Option<Duration> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds.clamp(0.0, LONGEST_TIMEOUT)).ok()
}
