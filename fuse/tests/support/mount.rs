//! Directories mounted as a writable tree, by the kernel's overlayfs or by this crate.
//!
//! A mount is gone when its value is, whatever happens.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mica_fuse::session::{
    Busy, CacheMode, MountError, MountOptions, Session, StopHandle, Transport, unmount,
};
use mica_fuse::{
    Access, ActiveView, DirectoryLayer, Layer, Tree, Upper, UpperOptions, ViewOptions,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::transport::usual_transport;

/// The options under which both must show the same and understand each other's uppers.
const OPTIONS: [(&str, &str); 3] = [("redirect_dir", "on"), ("index", "off"), ("xino", "off")];

/// How long a mount may stay busy after its last user.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who shows the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implementation {
    Kernel,
    Mica,
}

/// The directories of one mount, all below one: lowers (the uppermost first), upper, work
/// and the mount point.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    point: PathBuf,
    /// Whether the kernel copies contents up later than attributes.
    pub(crate) metacopy: bool,
    /// How the kernel keeps contents for this crate's mount.
    pub(crate) cache: CacheMode,
    /// How requests come to it.
    pub(crate) transport: Transport,
}

/// A mounted tree.
#[derive(Debug)]
pub(crate) struct Mounted {
    root: OwnedFd,
    /// None for the kernel's: its mount is attached nowhere and goes with its descriptor.
    serving: Option<Serving>,
}

/// A mount of this crate and the thread that serves it.
#[derive(Debug)]
struct Serving {
    point: PathBuf,
    stop: StopHandle,
    thread: Option<JoinHandle<Result<(), MountError>>>,
}

impl Ground {
    /// Makes the directories, all empty.
    pub(crate) fn new(directory: &Path, lowers: usize) -> Self {
        let make = |name: String| {
            let path = directory.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        Self {
            lowers: (0..lowers)
                .map(|lower| make(format!("lower{lower}")))
                .collect(),
            upper: make("upper".to_owned()),
            work: make("work".to_owned()),
            point: make("point".to_owned()),
            metacopy: true,
            cache: usual_cache(),
            transport: usual_transport(),
        }
    }

    /// Mounts it.
    pub(crate) fn mount(&self, implementation: Implementation) -> Mounted {
        match implementation {
            Implementation::Kernel => Mounted {
                root: self.overlay(),
                serving: None,
            },
            Implementation::Mica => {
                let serving = self.serve();
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let root = openat(CWD, &self.point, flags, Mode::empty()).unwrap();
                Mounted {
                    root,
                    serving: Some(serving),
                }
            }
        }
    }

    fn overlay(&self) -> OwnedFd {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let set = |option: &str, value: &Path| {
            rustix::mount::fsconfig_set_string(&context, option, value).unwrap();
        };
        for lower in &self.lowers {
            set("lowerdir+", lower);
        }
        set("upperdir", &self.upper);
        set("workdir", &self.work);
        let metacopy = ("metacopy", if self.metacopy { "on" } else { "off" });
        for (option, value) in OPTIONS.into_iter().chain([metacopy]) {
            set(option, Path::new(value));
        }
        rustix::mount::fsconfig_create(&context).unwrap();
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        rustix::mount::fsmount(&context, flags, MountAttrFlags::empty()).unwrap()
    }

    fn serve(&self) -> Serving {
        let session = Session::mount(self.tree(), &self.point, &self.options()).unwrap();
        let point = session.mountpoint().to_path_buf();
        let stop = session.stop_handle().unwrap();
        let thread = std::thread::spawn(move || session.serve());
        Serving {
            point,
            stop,
            thread: Some(thread),
        }
    }

    fn options(&self) -> MountOptions {
        MountOptions {
            writable: true,
            cache: self.cache,
            transport: self.transport,
            ..MountOptions::new("mica-test", Access::Enforce)
        }
    }

    /// Opens the upper. A process that another test is starting has the locks of the mount
    /// before for a moment, until it runs its program.
    fn open_upper(&self) -> Upper {
        let start = Instant::now();
        loop {
            match Upper::open(&self.upper, &self.work, UpperOptions::default()) {
                Err(error) if error.errno() == Errno::BUSY && start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                opened => return opened.unwrap(),
            }
        }
    }

    fn tree(&self) -> Arc<Tree> {
        let open = |path| Layer::Directory(Arc::new(DirectoryLayer::open(path).unwrap()));
        let layers = self.lowers.iter().map(|path| open(path)).collect();
        let upper = self.open_upper();
        let access = Access::Enforce;
        let active = ActiveView::open(layers, upper, ViewOptions { access }).unwrap();
        Arc::new(active.into())
    }
}

impl Mounted {
    /// Returns the root, a descriptor that only names it.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Takes the mount away; nobody may use it any more.
    pub(crate) fn unmount(self) {
        drop(self.root);
        if let Some(serving) = self.serving {
            serving.end();
        }
    }
}

impl Serving {
    /// Unmounts and waits for the thread, which must end without an error.
    fn end(mut self) {
        let start = Instant::now();
        while let Err(error) = unmount(&self.point, Busy::Refuse) {
            assert!(start.elapsed() < PATIENCE, "{error}");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.stop.stop().ok();
        drop(thread.join());
    }
}

/// As `mica` mounts, unless `MICA_TEST_CACHE` says `through` or `writeback`.
pub(crate) fn usual_cache() -> CacheMode {
    match std::env::var("MICA_TEST_CACHE").as_deref() {
        Ok("through") => CacheMode::Through,
        Ok("writeback") => CacheMode::Writeback,
        _ => CacheMode::best_for_process(),
    }
}
