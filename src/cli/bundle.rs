//! `mica bundle`.

use super::arguments::{BundleArguments, MountArguments, TransportArgument};
use super::mount;
use super::run::{config, process, resolve};
use super::{CliError, Session};
use crate::publish;
use crate::run::{self, Ids, RunPlan, Writable};

/// The root, in the directory of the bundle.
const ROOT: &str = "rootfs";

pub(super) fn run(session: Session, arguments: &BundleArguments) -> Result<(), CliError> {
    let named = resolve(&session, &arguments.what, &arguments.process)?;
    let process = process(&config(&session, &named)?, &arguments.process)?;
    let root = arguments.directory.join(ROOT);
    publish::create_private(&root).map_err(|source| CliError::Path {
        path: root.clone(),
        source,
    })?;
    let ids = Ids::of_process().without_subordinates();
    let mount = MountArguments {
        what: arguments.what.clone(),
        directory: root,
        rw: arguments.rw,
        key: arguments.key.clone(),
        access: None,
        transport: TransportArgument::Auto,
        foreground: false,
    };
    // Root of the runtime's user namespace is this user.
    let squash = match ids {
        Ids::Single { uid, gid } => Some((uid, gid)),
        _ => None,
    };
    let mount = mount::show(session, named, &mount, squash)?;
    let plan = RunPlan {
        mount,
        writable: if arguments.rw {
            Writable::Kept
        } else {
            Writable::No
        },
        ids,
        process,
        volumes: arguments.process.volumes.clone(),
        hostname: arguments.process.hostname.clone(),
        network: arguments.process.network.into(),
        runtime: None,
        terminal: arguments.tty,
    };
    Ok(run::write_bundle(&plan, &arguments.directory, ROOT)?)
}
