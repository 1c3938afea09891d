//! What is mounted in the root beside the view, and how a process becomes part of it.
//!
//! Everything is made or cloned while this machine's tree is still there, as mounts that
//! hang nowhere. Then the root is changed, and from there on every path is one of the image:
//! none of its links leads out.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, move_mount, open_tree, unmount,
};

use super::{Ids, RunError, RunPlan, failed, failed_call};
use crate::sys;

/// The devices that every program may expect, and no others.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The links in `/dev`, and where they lead.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// The group of terminals, as nearly all systems have it.
pub(super) const TTY_GROUP: u32 = 5;

/// A mount that hangs nowhere yet.
#[derive(Debug)]
struct Attachment {
    mount: OwnedFd,
    destination: PathBuf,
    is_directory: bool,
    /// Whether it is an error that there is no place for it.
    is_asked_for: bool,
}

/// What is to be mounted, in this order.
#[derive(Debug, Default)]
pub(super) struct Attachments(Vec<Attachment>);

/// Makes a mount namespace follow this machine's, and not the other way round.
pub(super) fn follow_outside() -> Result<(), RunError> {
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(failed_call("make a slave of", "/"))
}

/// Makes the view at `point` the root of this process, and leaves the old one.
pub(super) fn change_root(point: &Path) -> Result<(), RunError> {
    rustix::process::chdir(point).map_err(failed_call("change to", point))?;
    // The old root comes to lie upon the new one, from where it is taken away (pivot_root(2)).
    rustix::process::pivot_root(".", ".")
        .and_then(|()| unmount(".", UnmountFlags::DETACH))
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(failed_call("change the root to", point))
}

impl Attachments {
    /// Makes all that the plan asks for and every program expects.
    pub(super) fn prepare(plan: &RunPlan) -> Result<Self, RunError> {
        let mut all = Self::default();
        all.add("/proc", proc()?);
        let sys = clone(Path::new("/sys"))?;
        sys::make_read_only(sys.as_fd()).map_err(failed_call("make read-only", "/sys"))?;
        all.add("/sys", sys);
        all.add(
            "/dev",
            file_system("tmpfs", &[("mode", "0755"), ("size", "64k")])?,
        );
        for name in DEVICES {
            let device = Path::new("/dev").join(name);
            all.add_file(&device, clone(&device)?);
        }
        all.add("/dev/pts", terminals(&plan.ids)?);
        all.add("/dev/shm", file_system("tmpfs", &[("mode", "1777")])?);
        if let Ok(queues) = file_system("mqueue", &[]) {
            // Not every kernel has them.
            all.add("/dev/mqueue", queues);
        }
        for path in plan.scratch() {
            let mode = if *path == "/run" { "0755" } else { "1777" };
            all.add(path, file_system("tmpfs", &[("mode", mode)])?);
        }
        all.add_resolver()?;
        for volume in &plan.volumes {
            let is_directory = fs::metadata(&volume.source)
                .map_err(failed("look at", &volume.source))?
                .is_dir();
            let mount = clone(&volume.source)?;
            if volume.read_only {
                sys::make_read_only(mount.as_fd())
                    .map_err(failed_call("make read-only", &volume.source))?;
            }
            all.0.push(Attachment {
                mount,
                destination: volume.destination.clone(),
                is_directory,
                is_asked_for: true,
            });
        }
        Ok(all)
    }

    /// Mounts everything in the root of this process. What the image has no place for is left
    /// out if only mica wants it, and the root does not change.
    pub(super) fn attach(self) -> Result<(), RunError> {
        for attachment in self.0 {
            let destination = &attachment.destination;
            match make_point(destination, attachment.is_directory) {
                Ok(()) => {}
                Err(error) if is_refusal(&error) && !attachment.is_asked_for => continue,
                Err(error) if is_refusal(&error) => {
                    return Err(RunError::NoMountPoint(destination.clone()));
                }
                Err(error) => return Err(failed("create", destination)(error)),
            }
            let flags =
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
            move_mount(&attachment.mount, "", CWD, destination, flags)
                .map_err(failed_call("mount", destination))?;
            if destination == Path::new("/dev") {
                for (link, target) in LINKS {
                    symlink(target, link).map_err(failed("create", link))?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, mount: OwnedFd) {
        self.0.push(Attachment {
            mount,
            destination: path.into(),
            is_directory: true,
            is_asked_for: false,
        });
    }

    fn add_file(&mut self, path: &Path, mount: OwnedFd) {
        self.0.push(Attachment {
            mount,
            destination: path.to_owned(),
            is_directory: false,
            is_asked_for: false,
        });
    }

    /// The network is this machine's, and so is who knows its names.
    fn add_resolver(&mut self) -> Result<(), RunError> {
        let path = Path::new("/etc/resolv.conf");
        let mount = match clone(path) {
            Err(RunError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            other => other?,
        };
        sys::make_read_only(mount.as_fd()).map_err(failed_call("make read-only", path))?;
        self.add_file(path, mount);
        Ok(())
    }
}

/// Shows a terminal as the console.
pub(super) fn attach_console(terminal: &Path) -> Result<(), RunError> {
    let mut console = Attachments::default();
    console.add_file(Path::new("/dev/console"), clone(terminal)?);
    console.attach()
}

/// Returns the processes of this pid namespace.
fn proc() -> Result<OwnedFd, RunError> {
    match file_system("proc", &[]) {
        // In a container some of /proc is hidden, and what is hidden may not be shown anew.
        Err(RunError::Io { source, .. })
            if source.raw_os_error() == Some(Errno::PERM.raw_os_error()) =>
        {
            clone(Path::new("/proc"))
        }
        other => other,
    }
}

fn terminals(ids: &Ids) -> Result<OwnedFd, RunError> {
    let group = TTY_GROUP.to_string();
    let mut options = vec![("mode", "0620"), ("ptmxmode", "0666")];
    if ids.has_group(TTY_GROUP) {
        options.push(("gid", &group));
    }
    file_system("devpts", &options)
}

/// Makes a file system that hangs nowhere.
fn file_system(kind: &str, options: &[(&str, &str)]) -> Result<OwnedFd, RunError> {
    let failed = failed_call("make a file system of type", kind);
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(&failed)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value).map_err(&failed)?;
    }
    fsconfig_create(context.as_fd()).map_err(&failed)?;
    let attributes = match kind {
        "devpts" => MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        _ => MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    };
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)
}

/// Returns a tree of this machine, with all that is mounted in it.
fn clone(path: &Path) -> Result<OwnedFd, RunError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).map_err(failed_call("clone", path))
}

/// Makes a mount point where there is none.
fn make_point(path: &Path, is_directory: bool) -> io::Result<()> {
    if fs::metadata(path).is_ok() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755);
    if is_directory {
        return builder.create(path);
    }
    if let Some(parent) = path.parent() {
        builder.create(parent)?;
    }
    File::create(path).map(drop)
}

/// Returns whether there is no place, as opposed to a failure: the root does not change, or a
/// link leads to nothing.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotFound
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory
    )
}
