//! Where other programs are looked for: where the user says, and then where the system has
//! them, since not everybody's search path leads to `/usr/sbin`.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Finds a program; a name with a slash is a path.
pub(crate) fn find(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let program = program.as_ref();
    let path = env::var_os("PATH").unwrap_or_default();
    let system = [
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
        "/usr/local/sbin",
        "/usr/sbin",
        "/sbin",
    ];
    let mut directories = env::split_paths(&path).chain(system.map(PathBuf::from));
    directories.find_map(|directory| {
        let file = directory.join(program);
        let metadata = file.metadata().ok()?;
        let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        is_program.then_some(file)
    })
}
