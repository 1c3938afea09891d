//! The lower layers of a sequence, as the steps that make them.
//!
//! A step that cannot be taken is left out, so any part of a list of steps makes a stack,
//! and the same list makes the same stack twice.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, makedev, mknodat,
    utimensat,
};

/// One step in the making of the stack.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The position of the layer, the uppermost first.
    pub(crate) layer: usize,
    pub(crate) path: PathBuf,
    pub(crate) making: Making,
}

/// What a step makes, or does to what is there.
#[derive(Clone, Debug)]
pub(crate) enum Making {
    Directory,
    /// A file of that size; of each `stride` bytes only the first `data` are no hole.
    File {
        size: u64,
        byte: u8,
        data: u64,
        stride: u64,
    },
    HardLink(PathBuf),
    Symlink(PathBuf),
    Node(FileType, (u32, u32)),
    Whiteout,
    Opaque,
    Xattr(&'static str, &'static [u8]),
    Mode(u32),
    Owner(u32, u32),
}

impl Made {
    /// Takes the step in its layer.
    pub(crate) fn take(&self, lowers: &[PathBuf]) {
        let at = lowers[self.layer].join(&self.path);
        let outcome = self.making.take(&lowers[self.layer], &at);
        // What the path asks for is not there, or something else is.
        drop(outcome);
    }
}

impl Making {
    fn take(&self, layer: &Path, at: &Path) -> std::io::Result<()> {
        let node = |kind, (major, minor)| {
            mknodat(
                CWD,
                at,
                kind,
                Mode::from_raw_mode(0o644),
                makedev(major, minor),
            )
        };
        match self {
            Self::Directory => fs::create_dir(at)?,
            Self::File {
                size,
                byte,
                data,
                stride,
            } => {
                let file = fs::File::create_new(at)?;
                file.set_len(*size)?;
                let mut start = 0;
                while start < *size {
                    let length = (*data).min(*size - start);
                    file.write_all_at(&pattern(*byte, start, length), start)?;
                    start += *stride;
                }
            }
            Self::HardLink(target) => fs::hard_link(layer.join(target), at)?,
            Self::Symlink(target) => symlink(target, at)?,
            Self::Node(kind, device) => node(*kind, *device)?,
            Self::Whiteout => node(FileType::CharacterDevice, (0, 0))?,
            Self::Opaque if at.symlink_metadata()?.is_dir() => {
                rustix::fs::lsetxattr(at, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
            }
            Self::Xattr(name, value) => {
                if !is_whiteout(at) {
                    rustix::fs::lsetxattr(at, *name, value, XattrFlags::empty())?;
                }
            }
            Self::Mode(mode) if !at.is_symlink() => {
                fs::set_permissions(at, fs::Permissions::from_mode(*mode))?;
            }
            Self::Opaque | Self::Mode(_) => (),
            Self::Owner(uid, gid) if !at.is_symlink() => chown(at, Some(*uid), Some(*gid))?,
            Self::Owner(uid, gid) => {
                std::os::unix::fs::lchown(at, Some(*uid), Some(*gid))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Made {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_os_str().as_bytes().escape_ascii();
        write!(formatter, "layer {}, \"{path}\": ", self.layer)?;
        match &self.making {
            Making::Mode(mode) => write!(formatter, "Mode(0{mode:o})"),
            making => write!(formatter, "{making:?}"),
        }
    }
}

/// Gives everything below a layer a time long ago that follows from its path.
pub(crate) fn date(layer: &Path) {
    date_below(layer, 17);
}

fn date_below(at: &Path, seed: i64) {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seed % 1_000_000_000,
            tv_nsec: seed.unsigned_abs().cast_signed() % 1_000_000_000,
        },
    };
    utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    if at.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let mix =
                |seed: i64, byte: &u8| (seed ^ i64::from(*byte)).wrapping_mul(0x1000_0000_01b3);
            date_below(&entry.path(), name.as_bytes().iter().fold(seed, mix));
        }
    }
}

fn is_whiteout(at: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    at.symlink_metadata()
        .is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
}

/// Returns bytes that differ by where they lie and who wrote them; none of them is 0.
pub(crate) fn pattern(byte: u8, start: u64, length: u64) -> Vec<u8> {
    (start..start + length)
        .map(|at| (at / 512 * 7 + at % 251 + u64::from(byte)) % 255 + 1)
        .map(|value| value.to_le_bytes()[0])
        .collect()
}
