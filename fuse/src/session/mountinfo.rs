//! What is mounted where, from `/proc/self/mountinfo` (proc(5)).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{FILE_SYSTEM_TYPE, MountError};

/// The file that lists the mounts of this process's mount namespace.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `st_dev` of what is mounted.
    pub device: Device,
    /// What of the file system is mounted: a path below its top.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The type, with its subtype: `fuse.mica`.
    pub file_system_type: String,
    /// The source that was given at the mount.
    pub source: OsString,
}

/// The number of a mounted file system's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

impl Mount {
    /// Returns whether this crate made the mount, and was asked for no other type: only the
    /// session itself knows what it mounted under another.
    pub fn is_ours(&self) -> bool {
        self.file_system_type == FILE_SYSTEM_TYPE
    }
}

/// Returns all mounts that this process sees, in the order in which they were made.
pub fn mounts() -> Result<Vec<Mount>, MountError> {
    let text = std::fs::read(MOUNTINFO).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        MountError::system("read", Path::new(MOUNTINFO))(errno)
    })?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect())
}

/// Returns the mount that hides all others at this path.
pub(crate) fn topmost(point: &Path) -> Result<Option<Mount>, MountError> {
    Ok(mounts()?.into_iter().rfind(|mount| mount.point == point))
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = parse_device(fields.nth(2)?)?;
    let root = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    let point = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    // Optional fields end with a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let file_system_type = String::from_utf8(unescape(fields.next()?)).ok()?;
    let source = OsString::from_vec(unescape(fields.next()?));
    Some(Mount {
        device,
        root,
        point,
        file_system_type,
        source,
    })
}

fn parse_device(field: &[u8]) -> Option<Device> {
    let text = std::str::from_utf8(field).ok()?;
    let (major, minor) = text.split_once(':')?;
    Some(Device {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// Undoes the kernel's `\ooo` for space, tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .first_chunk::<3>()
            .filter(|_| *first == b'\\')
            .copied()
            .and_then(octal);
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    let text = std::str::from_utf8(&digits).ok()?;
    u8::from_str_radix(text, 8).ok()
}

/// Returns the path with everything but its last name resolved, for a mount point that
/// cannot be resolved itself because the process that served it has died.
pub(crate) fn resolve_parent(point: &Path) -> std::io::Result<PathBuf> {
    let (Some(parent), Some(name)) = (point.parent(), point.file_name()) else {
        return point.canonicalize();
    };
    let parent = if parent.as_os_str().as_bytes().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    Ok(parent.canonicalize()?.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let mount = |point: &[u8], kind: &str, source: &str| Mount {
            device: Device {
                major: 0,
                minor: 52,
            },
            root: "/".into(),
            point: PathBuf::from(OsString::from_vec(point.to_vec())),
            file_system_type: kind.into(),
            source: source.into(),
        };
        let cases: [(&str, &[u8], Option<Mount>); 5] = [
            (
                "no optional field",
                b"98 29 0:52 / /mnt/a ro,relatime - fuse.mica image ro,user_id=0",
                Some(mount(b"/mnt/a", "fuse.mica", "image")),
            ),
            (
                "optional fields",
                b"98 29 0:52 / /mnt/a ro shared:1 master:2 - ext4 /dev/vda rw",
                Some(mount(b"/mnt/a", "ext4", "/dev/vda")),
            ),
            (
                "space, newline and backslash are octal",
                b"98 29 0:52 / /m\\040t\\012\\134 ro - fuse.mica a\\040b ro",
                Some(mount(b"/m t\n\\", "fuse.mica", "a b")),
            ),
            (
                "a name that is not UTF-8",
                b"98 29 0:52 / /\xff\\ ro - tmpfs none rw",
                Some(mount(b"/\xff\\", "tmpfs", "none")),
            ),
            ("cut off", b"98 29 0:52 / /mnt/a ro", None),
        ];
        for (why, line, expected) in cases {
            assert_eq!(parse_line(line), expected, "{why}");
        }
    }
}
