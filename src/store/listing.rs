//! Listing a directory of the store.

use std::fs;
use std::io;
use std::path::Path;

/// Returns the names in a directory, sorted; none when it does not exist.
pub(crate) fn entries(path: &Path) -> io::Result<Vec<String>> {
    let mut names = names(path)?;
    names.sort_unstable();
    Ok(names)
}

/// Returns the names in a directory, in no order; none when it does not exist.
///
/// All names in a store are digests or made of digits, so one that is not UTF-8 is a
/// stranger's (`InvalidData`).
pub(crate) fn names(path: &Path) -> io::Result<Vec<String>> {
    let listing = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in listing {
        let name = entry?.file_name().into_string();
        names.push(name.map_err(|name| {
            let message = format!("{} is no name of the store's", name.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn names_are_sorted_and_whole() {
        let root = tempfile::tempdir().unwrap();
        let none: [&str; 0] = [];
        assert_eq!(entries(&root.path().join("absent")).unwrap(), none);
        for name in ["b", "a"] {
            fs::write(root.path().join(name), b"").unwrap();
        }
        assert_eq!(entries(root.path()).unwrap(), ["a", "b"]);
        fs::write(root.path().join(OsStr::from_bytes(b"\xff")), b"").unwrap();
        let error = entries(root.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
