//! `mica browse`.

use super::arguments::BrowseArguments;
use super::mount::{absolute_path, serve};
use super::{CliError, Session};
use crate::browse::Browse;
use crate::mounts::MountPlan;
use crate::snapshots::SnapshotMounts;

pub(super) fn run(session: Session, arguments: &BrowseArguments) -> Result<(), CliError> {
    let mountpoint = absolute_path(&arguments.directory)?;
    let source = session.store.root().display().to_string();
    let nothing = SnapshotMounts::empty();
    let plan = MountPlan {
        browse: Some(Browse {
            namespace: session.namespace.clone(),
            rw: arguments.rw,
            pull: arguments.pull,
        }),
        transport: arguments.transport.into(),
        ..MountPlan::of_snapshot(&session.store, nothing, mountpoint, source)
    };
    serve(&mut Some(session), &plan, arguments.foreground)
}
