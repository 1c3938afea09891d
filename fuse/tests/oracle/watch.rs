//! A run that hangs says where, and ends.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use mica_fuse::session::{FILE_SYSTEM_TYPE, mounts};
use rustix::mount::UnmountFlags;

use crate::operation::Step;

/// More than any step takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

static LAST: Mutex<Option<(Instant, String)>> = Mutex::new(None);
static WATCH: OnceLock<()> = OnceLock::new();

/// Says what is about to be done.
pub(crate) fn report(seed: u64, step: &Step) {
    WATCH.get_or_init(|| drop(std::thread::spawn(watch)));
    *LAST.lock().unwrap() = Some((Instant::now(), format!("seed {seed}: {step}")));
}

/// Says that nothing is being done.
pub(crate) fn rest() {
    *LAST.lock().unwrap() = None;
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let last = LAST.lock().unwrap().clone();
        if let Some((since, what)) = last
            && since.elapsed() > LIMIT
        {
            eprintln!("hangs: {what}");
            abort_mounts();
            std::process::exit(1);
        }
    }
}

/// Ends all requests of the mounts of this test: a thread that waits for an answer of its
/// own process cannot be killed.
fn abort_mounts() {
    for mount in mounts().unwrap_or_default() {
        let is_ours = mount.file_system_type == FILE_SYSTEM_TYPE
            && mount.point.to_string_lossy().contains("/mica-oracle-");
        if is_ours {
            let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
            rustix::mount::unmount(&mount.point, flags).ok();
        }
    }
}
