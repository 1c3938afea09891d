//! `mica mount`, `mica umount` and `mica mounts`.

use std::path::{Path, absolute};

use mica_fuse::session::Busy;

use super::arguments::{MountArguments, UmountArguments};
use super::output::time;
use super::{CliError, Session};
use crate::images::{Contents, ImageError};
use crate::mounts::{self, AccessMode, LayerPlan, MountPlan, MountRecord, Records};
use crate::oci::DiffId;
use crate::pull::mend;

/// What the user has named: a chain of layers, uppermost first.
#[derive(Debug)]
struct Named {
    image: Option<String>,
    snapshot: Option<String>,
    layers: Vec<DiffId>,
    /// What the layers can be made from, where an image was named.
    contents: Option<Contents>,
}

pub(super) fn run(session: Session, arguments: &MountArguments) -> Result<(), CliError> {
    let named = resolve(&session, &arguments.what)?;
    session.store.layers().read_ahead(&named.layers);
    match &named.contents {
        Some(contents) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CliError::Runtime)?
            .block_on(mend(&session.store, contents))?,
        None => session.store.layers().require(&named.layers)?,
    }
    let access = arguments
        .access
        .map_or_else(AccessMode::default_for_process, AccessMode::from);
    let plan = MountPlan {
        store: session.store.root().to_owned(),
        records: session.store.mounts(),
        layers: named.layers.into_iter().map(LayerPlan::Packed).collect(),
        mountpoint: absolute_path(&arguments.directory)?,
        source: arguments.what.clone(),
        image: named.image,
        snapshot: named.snapshot,
        access,
        suid_and_dev: None,
        allow_nonempty: false,
    };
    if arguments.foreground {
        // The mount holds its layers by itself; a store held for as long as it lives
        // would put off every sweep.
        drop(session);
        return Ok(mounts::serve_here(&plan, |record| {
            tracing::info!(mountpoint = %record.mountpoint.display(), "mounted");
        })?);
    }
    mounts::start(&plan)?;
    Ok(())
}

pub(super) fn umount(session: &Session, arguments: &UmountArguments) -> Result<(), CliError> {
    let busy = if arguments.lazy {
        Busy::Detach
    } else {
        Busy::Refuse
    };
    let records = Records::at(session.store.mounts());
    Ok(mounts::stop(
        &records,
        &absolute_path(&arguments.directory)?,
        busy,
    )?)
}

pub(super) fn list(session: &Session) -> Result<(), CliError> {
    let records = Records::at(session.store.mounts()).list()?;
    session.output.records(
        &records,
        ["MOUNT POINT", "SOURCE", "MOUNTED", "PROCESS"],
        |record| {
            [
                record.mountpoint.display().to_string(),
                source(record),
                time(record.created),
                record.pid.to_string(),
            ]
        },
    )
}

/// Finds an image by any of its names, or a snapshot by its whole name.
fn resolve(session: &Session, what: &str) -> Result<Named, CliError> {
    let image = match session.images().resolve(what) {
        Ok(image) => image,
        Err(not_found @ ImageError::NotFound(_)) => {
            let layers = session.snapshots().layers(what).map_err(|_| not_found)?;
            return Ok(Named {
                image: None,
                snapshot: Some(what.to_owned()),
                layers,
                contents: None,
            });
        }
        Err(error) => return Err(error.into()),
    };
    let contents = session.images().contents(&image)?;
    let layers = contents.config.diff_ids().iter().rev().cloned().collect();
    let snapshot = contents.chain_id().map(|chain_id| chain_id.to_string());
    Ok(Named {
        image: Some(image.name),
        snapshot,
        layers,
        contents: Some(contents),
    })
}

fn absolute_path(path: &Path) -> Result<std::path::PathBuf, CliError> {
    absolute(path).map_err(|source| CliError::Path {
        path: path.to_owned(),
        source,
    })
}

fn source(record: &MountRecord) -> String {
    let name = record.image.as_ref().or(record.snapshot.as_ref());
    name.cloned().unwrap_or_else(|| "-".to_owned())
}
