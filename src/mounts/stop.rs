//! Takes mounts away and sees their processes end.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mica_fuse::session::{self, Busy};

use super::{MountsError, Records, failed};

/// How long a process may go on after its mount is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Unmounts what mica has mounted at `mountpoint` and waits until the process that
/// served it has ended.
///
/// With [`Busy::Detach`] a mount that is in use leaves the tree at once, and nothing is
/// waited for: its process ends when its last user has left.
pub fn stop(records: &Records, mountpoint: &Path, busy: Busy) -> Result<(), MountsError> {
    let resolved = session::resolve(mountpoint)?;
    let record = records.find(&resolved)?;
    session::unmount(&resolved, busy)?;
    let Some(record) = record.filter(|_| busy == Busy::Refuse) else {
        return Ok(());
    };
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    while record
        .process()
        .is_running()
        .map_err(failed("look for the process of", &resolved))?
    {
        if start.elapsed() > PATIENCE {
            return Err(MountsError::Lingers {
                point: resolved,
                pid: record.pid,
            });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    // Its process removed the record, unless it was killed.
    records.remove(&record)
}
