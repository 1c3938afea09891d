//! Whether files of a store can have the attributes that writable snapshots are made of.

use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Gives a file or directory such an attribute, and takes it away again. `EOPNOTSUPP` says that
/// its file system has none.
pub(crate) fn try_out(path: &Path) -> Result<(), Errno> {
    let name = if crate::users::is_machine_root() {
        "trusted.mica.tried"
    } else {
        "user.mica.tried"
    };
    rustix::fs::setxattr(path, name, b"", XattrFlags::empty())?;
    rustix::fs::removexattr(path, name)
}
