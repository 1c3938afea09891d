//! `mica mount`, `mica umount` and `mica mounts`.

use std::path::{Path, absolute};

use mica_fuse::session;

use super::arguments::{MountArguments, UmountArguments};
use super::pull::in_runtime;
use super::snapshot::kept;
use super::{CliError, Session};
use crate::meta::Kind;
use crate::mounts::{self, AccessMode, MountPlan, MountsError};
use crate::named::{Named, Readiness};
use crate::oci::Platform;

pub(super) fn run(session: Session, arguments: &MountArguments) -> Result<(), CliError> {
    let named = resolve(&session, &arguments.what)?;
    show(session, named, arguments, None).map(drop)
}

/// Mounts what was named, with all files as those of one user and group if that is wanted.
pub(super) fn show(
    session: Session,
    mut named: Named,
    arguments: &MountArguments,
    squash: Option<(u32, u32)>,
) -> Result<MountPlan, CliError> {
    require_layers(&session, &named, arguments.rw)?;
    let created = if arguments.rw {
        make_writable(&session, arguments, &mut named)?
    } else {
        None
    };
    let plan = MountPlan {
        squash,
        ..plan(&session, arguments, named)?
    };
    // Not for as long as the mount lives; the mount holds its layers by itself.
    let mut before = Some(session);
    let mounted = serve(&mut before, &plan, arguments.foreground);
    if let (Err(_), Some(session), Some(key)) = (&mounted, before, created) {
        session.snapshots().remove(&key)?;
    }
    mounted?;
    Ok(plan)
}

/// Mounts what a plan says; in this process the session ends when the mount is there.
pub(super) fn serve(
    before: &mut Option<Session>,
    plan: &MountPlan,
    in_foreground: bool,
) -> Result<(), CliError> {
    if !in_foreground {
        return Ok(mounts::start(plan).map(drop)?);
    }
    Ok(mounts::serve_here(plan, |record| {
        drop(before.take());
        tracing::info!(mountpoint = %record.mountpoint.display(), "mounted");
    })?)
}

/// Makes sure that the layers of what was named can be used, and where it is to be stood on,
/// that its snapshots are recorded.
pub(super) fn require_layers(
    session: &Session,
    named: &Named,
    is_parent: bool,
) -> Result<(), CliError> {
    match named.check(&session.store, is_parent)? {
        Readiness::Ready => Ok(()),
        Readiness::ToMake(missing) => {
            let make = missing.make(&session.store, &session.namespace);
            in_runtime(async { Ok(make.await?) })
        }
    }
}

/// Takes the active snapshot that was named, or makes one on what was named; returns the
/// key of a new one.
fn make_writable(
    session: &Session,
    arguments: &MountArguments,
    named: &mut Named,
) -> Result<Option<String>, CliError> {
    let snapshots = session.snapshots();
    if let (None, None, Some(key)) = (&named.image, &arguments.key, &named.snapshot)
        && snapshots.stat(key)?.kind == Kind::Active
    {
        named.shown = snapshots.mounts(key)?;
        return Ok(None);
    }
    let key = match &arguments.key {
        Some(key) => key.clone(),
        None => default_key(&arguments.directory)?,
    };
    let labels = kept(named.base_labels());
    named.shown = snapshots.prepare(&key, named.snapshot.as_deref(), labels)?;
    named.snapshot = Some(key.clone());
    Ok(Some(key))
}

/// Returns the path of the mount point, as the record of the mount has it.
fn default_key(directory: &Path) -> Result<String, CliError> {
    let point = session::resolve(directory).map_err(MountsError::from)?;
    match point.into_os_string().into_string() {
        Ok(key) => Ok(key),
        Err(path) => Err(CliError::Key(path.into())),
    }
}

fn plan(
    session: &Session,
    arguments: &MountArguments,
    named: Named,
) -> Result<MountPlan, CliError> {
    let store = &session.store;
    let mountpoint = absolute_path(&arguments.directory)?;
    let plan = MountPlan::of_snapshot(store, named.shown, mountpoint, arguments.what.clone());
    Ok(MountPlan {
        image: named.image.map(|image| image.name),
        snapshot: named.snapshot,
        access: arguments.access.map_or(plan.access, AccessMode::from),
        transport: arguments.transport.into(),
        ..plan
    })
}

pub(super) fn umount(session: &Session, arguments: &UmountArguments) -> Result<(), CliError> {
    let mountpoint = absolute_path(&arguments.directory)?;
    Ok(session.client()?.umount(&mountpoint, arguments.lazy)?)
}

/// Finds an image by any of its names, or a snapshot by its whole name.
pub(super) fn resolve(session: &Session, what: &str) -> Result<Named, CliError> {
    resolve_for(session, what, &Platform::host())
}

/// As [`resolve`], of an image for several platforms the one for `platform`.
pub(super) fn resolve_for(
    session: &Session,
    what: &str,
    platform: &Platform,
) -> Result<Named, CliError> {
    let named = Named::find(&session.store, &session.namespace, what, platform);
    Ok(named?)
}

pub(super) fn absolute_path(path: &Path) -> Result<std::path::PathBuf, CliError> {
    absolute(path).map_err(|source| CliError::Path {
        path: path.to_owned(),
        source,
    })
}
