//! A mount for one test, with its directories at hand.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mica_fuse::session::CacheMode;
use rustix::fs::{Advice, fadvise};
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

use crate::mount::{Ground, Implementation, Mounted};

/// All ways in which the kernel keeps contents.
pub(crate) const CACHES: [CacheMode; 3] = [
    CacheMode::Through,
    CacheMode::Writeback,
    CacheMode::Passthrough,
];

/// Layers, an upper, and what they are mounted as.
#[derive(Debug)]
pub(crate) struct Bed {
    // Before the directories: the mount has to go first.
    mounted: Option<Mounted>,
    pub(crate) ground: Ground,
    small: Option<Small>,
    directory: TempDir,
}

/// A small file system in memory.
#[derive(Debug)]
pub(crate) struct Small(PathBuf);

impl Bed {
    /// Mounts one layer, as `lay` makes it in its directory.
    pub(crate) fn new(lay: impl FnOnce(&Path)) -> Self {
        let mut bed = Self::unmounted(lay);
        bed.remount();
        bed
    }

    /// The same, with contents kept in a certain way.
    pub(crate) fn cached(cache: CacheMode, lay: impl FnOnce(&Path)) -> Self {
        let mut bed = Self::unmounted(lay);
        bed.ground.cache = cache;
        bed.remount();
        bed
    }

    /// Mounts one layer with an upper that has little space.
    pub(crate) fn small(size: &str, lay: impl FnOnce(&Path)) -> Self {
        let mut bed = Self::unmounted(lay);
        let point = bed.directory().join("small");
        fs::create_dir(&point).unwrap();
        bed.ground.upper = point.join("upper");
        bed.ground.work = point.join("work");
        bed.small = Some(Small::mount(point, size));
        fs::create_dir(&bed.ground.upper).unwrap();
        fs::create_dir(&bed.ground.work).unwrap();
        bed.remount();
        bed
    }

    /// Makes the directories only.
    pub(crate) fn unmounted(lay: impl FnOnce(&Path)) -> Self {
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ground = Ground::new(directory.path(), 1);
        lay(&ground.lowers[0]);
        Self {
            mounted: None,
            ground,
            small: None,
            directory,
        }
    }

    /// Takes the mount away, so that nothing that it knew is left, and mounts again.
    pub(crate) fn remount(&mut self) {
        self.unmount();
        self.mounted = Some(self.ground.mount(Implementation::Mica));
    }

    /// Mounts the same directories by the kernel's overlayfs.
    pub(crate) fn remount_as_overlayfs(&mut self) {
        self.unmount();
        self.mounted = Some(self.ground.mount(Implementation::Kernel));
    }

    pub(crate) fn unmount(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount();
        }
    }

    /// Returns the path of something in the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let root = self.mounted.as_ref().unwrap().root().as_raw_fd();
        PathBuf::from(format!("/proc/self/fd/{root}")).join(name)
    }

    /// Returns the path of something in the mount that other processes know too.
    pub(crate) fn shared_path(&self, name: &str) -> PathBuf {
        self.directory.path().join("point").join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn lower(&self, name: &str) -> PathBuf {
        self.ground.lowers[0].join(name)
    }

    pub(crate) fn upper(&self, name: &str) -> PathBuf {
        self.ground.upper.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn stat(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).unwrap()
    }

    /// Returns the sorted names of a directory.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        names(&self.path(directory))
    }

    /// Returns what half-made things the work directory holds: all but the whiteout
    /// that others are links of.
    pub(crate) fn half_made(&self) -> Vec<String> {
        let mut found = names(&self.ground.work.join("work"));
        found.retain(|name| name != "whiteout");
        found
    }

    /// Returns the marks below the upper: whiteouts, and opaque directories with a `/`.
    pub(crate) fn marks(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_marks(&self.ground.upper, "", &mut found);
        found.sort();
        found
    }
}

impl Small {
    pub(crate) fn mount(point: PathBuf, size: &str) -> Self {
        let options = CString::new(format!("size={size}")).unwrap();
        let flags = MountFlags::empty();
        rustix::mount::mount("small", &point, "tmpfs", flags, Some(&*options)).unwrap();
        Self(point)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).ok();
    }
}

/// Opens for writing.
pub(crate) fn open_to_write(path: &Path) -> File {
    File::options().write(true).open(path).unwrap()
}

/// Makes the kernel drop what it keeps of a file.
pub(crate) fn evict(file: &File) {
    file.sync_all().unwrap();
    fadvise(file, 0, None, Advice::DontNeed).unwrap();
}

/// Makes the kernel drop its caches: pages, names and inodes that nobody uses.
pub(crate) fn drop_caches() {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
}

/// Returns the number of an error that there must be.
pub(crate) fn errno<T>(result: Result<T, impl Into<io::Error>>) -> i32 {
    let Err(error) = result else {
        panic!("no error")
    };
    error.into().raw_os_error().unwrap()
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn is_whiteout(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
}

/// Returns the value of an attribute as it is on disk.
pub(crate) fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn collect_marks(directory: &Path, path: &str, found: &mut Vec<String>) {
    if xattr(directory, "trusted.overlay.opaque").is_some() {
        found.push(format!("{path}/"));
    }
    for name in names(directory) {
        let (below, path) = (directory.join(&name), format!("{path}/{name}"));
        if is_whiteout(&below) || name.starts_with(".wh.") {
            found.push(path);
        } else if below.symlink_metadata().unwrap().is_dir() {
            collect_marks(&below, &path, found);
        }
    }
}
