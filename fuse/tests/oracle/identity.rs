//! Acting as another user: credentials and umask of this thread only.

use rustix::fs::Mode;
use rustix::process::umask;
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::operation::Who;
use crate::sys;

/// Gives this thread a umask of its own, and no groups but that of its user.
pub(crate) fn detach() {
    sys::unshare_umask().unwrap();
    set_thread_groups(&[]).unwrap();
}

/// Does something as somebody; this thread has to be detached.
pub(crate) fn assume<T>(who: Who, does: impl FnOnce() -> T) -> T {
    let before = umask(Mode::from_raw_mode(who.umask.0));
    set_effective(who.id);
    let result = does();
    set_effective(0);
    umask(before);
    result
}

/// Root's real and saved IDs stay, so that there is a way back.
fn set_effective(id: u32) {
    if id == 0 {
        set_thread_res_uid(None, Uid::from_raw(0), None).unwrap();
        set_thread_res_gid(None, Gid::from_raw(0), None).unwrap();
    } else {
        set_thread_res_gid(None, Gid::from_raw(id), None).unwrap();
        set_thread_res_uid(None, Uid::from_raw(id), None).unwrap();
    }
}
