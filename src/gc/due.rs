//! When garbage is collected without being asked for.

use std::time::{Duration, SystemTime};

use super::collect::{Collected, collect};
use super::error::GcError;
use crate::publish;
use crate::store::{LockName, Store};

/// How often commands that write collect by the way.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Collects unless somebody did within the last hour.
pub(crate) fn collect_if_due(store: &Store) -> Result<Option<Collected>, GcError> {
    let Some(lock) = store.locks().try_exclusive(&LockName::Gc)? else {
        return Ok(None);
    };
    let age = SystemTime::now().duration_since(lock.modified()?);
    drop(lock);
    // The file is as old as the store at first.
    if age.unwrap_or_default() < INTERVAL {
        return Ok(None);
    }
    collect(store).map(Some)
}

/// Removes what killed processes have left half-made or half-removed.
pub(crate) fn tidy(store: &Store) -> Result<(), GcError> {
    let path = store.tmp();
    publish::sweep_tmp(&path).map_err(|source| GcError::Io { path, source })
}
