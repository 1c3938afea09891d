//! Runs whose isolation is a runtime's of the OCI: it is given a bundle, with the view that
//! this process serves for its root.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use rustix::fs::{Mode, OFlags};

use super::bundle::{self, UserNamespace};
use super::user::User;
use super::{Ids, RunError, RunPlan, failed, failed_call};
use crate::mounts::MountsError;
use crate::programs::find;
use crate::publish::Staging;
use crate::store::Store;

/// The name of the file that makes a directory a bundle.
const CONFIG: &str = "config.json";

/// A bundle of a run that goes on, removed with all that the runtime keeps beside it.
#[derive(Debug)]
pub(super) struct Bundle(Staging);

/// Writes `config.json` into a directory, beside the root `root` that is mounted there already
/// and is looked into for users.
///
/// An ordinary user's runtime makes a user namespace in which root stands for that user.
pub fn write_bundle(plan: &RunPlan, directory: &Path, root: &str) -> Result<(), RunError> {
    let namespace = match plan.ids {
        Ids::Host => UserNamespace::Present,
        Ids::Single { uid, gid } | Ids::Subordinate { uid, gid, .. } => {
            UserNamespace::Single { uid, gid }
        }
    };
    let user = look_up(plan, &directory.join(root))?;
    write(plan, &user, directory, Path::new(root), namespace)
}

impl Bundle {
    /// Makes a bundle whose root is the view that is mounted.
    pub(super) fn make(plan: &RunPlan) -> Result<Self, RunError> {
        let store = Store::open(&plan.mount.store).map_err(MountsError::from)?;
        let tmp = store.tmp();
        let staging = Staging::directory(&tmp).map_err(failed("create", &tmp))?;
        let root = &plan.mount.mountpoint;
        let user = look_up(plan, root)?;
        write(plan, &user, staging.path(), root, UserNamespace::Present)?;
        Ok(Self(staging))
    }

    /// Starts a runtime with it.
    pub(super) fn start(&self, plan: &RunPlan, runtime: &OsStr) -> Result<Child, RunError> {
        let directory = self.0.path();
        let program = find(runtime).ok_or_else(|| RunError::NoRuntime(runtime.to_owned()))?;
        let mut command = Command::new(program);
        command.arg("--root").arg(directory.join("state"));
        let is_crun = Path::new(runtime).file_name() == Some(OsStr::new("crun"));
        if is_crun && plan.ids.has_namespace() {
            // They are not this user's.
            command.arg("--cgroup-manager=disabled");
        }
        command.arg("run").arg("--bundle").arg(directory);
        command.arg(format!("mica-{}", std::process::id()));
        command.spawn().map_err(failed("start", runtime))
    }
}

fn look_up(plan: &RunPlan, root: &Path) -> Result<User, RunError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(root, flags, Mode::empty()).map_err(failed_call("open", root))?;
    let user = User::look_up(&opened, &plan.process.user)?;
    if plan.ids.has_user(user.uid) && plan.ids.has_group(user.gid) {
        return Ok(user);
    }
    Err(RunError::Unmapped {
        kind: "user",
        id: user.uid,
    })
}

fn write(
    plan: &RunPlan,
    user: &User,
    directory: &Path,
    root: &Path,
    namespace: UserNamespace,
) -> Result<(), RunError> {
    let config = bundle::config(plan, user, root, namespace)?;
    let json = serde_json::to_vec_pretty(&config).map_err(RunError::Plan)?;
    let path = directory.join(CONFIG);
    fs::write(&path, json).map_err(failed("write", &path))
}
