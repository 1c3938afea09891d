//! Where two mounts do not agree, and trees compared as wholes.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::allowed::Compared;
use crate::tree::{Entry, Tree};

/// Where two mounts do not agree.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// The same for differences that may have the same cause.
    pub(crate) kind: String,
    /// After how many steps.
    pub(crate) after: usize,
    pub(crate) what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} after {} steps: {}",
            self.kind, self.after, self.what
        )
    }
}

/// Compares two trees, the reference first.
pub(crate) fn compare(
    kind: &str,
    after: usize,
    (reference, subject): (&Tree, &Tree),
    allows: impl Fn(&Compared<'_>) -> bool,
) -> Result<(), Difference> {
    let paths: BTreeMap<_, _> = reference.entries.iter().chain(&subject.entries).collect();
    for path in paths.into_keys() {
        let (one, other) = (reference.entries.get(path), subject.entries.get(path));
        let (field, how) = match (one, other) {
            (Some(one), Some(other)) => match one.difference(other) {
                Some(differs) => (differs.field, differs.how),
                None => continue,
            },
            (Some(_), None) => ("names", "only in the first".to_owned()),
            (None, _) => ("names", "only in the second".to_owned()),
        };
        if !allows(&Compared::Entry(one, other)) {
            return Err(Difference {
                kind: format!("{field} of {kind}"),
                after,
                what: format!("\"{}\": {how}", path.escape_ascii()),
            });
        }
    }
    Ok(())
}

/// Checks that each path of a tree has the number that it had before.
pub(crate) fn same_numbers(after: usize, before: &Tree, now: &Tree) -> Result<(), Difference> {
    for (path, entry) in &before.entries {
        if let (Entry::Found(before), Some(Entry::Found(now))) = (entry, now.entries.get(path))
            && before.ino != now.ino
        {
            return Err(Difference {
                kind: "number after remount".to_owned(),
                after,
                what: format!(
                    "\"{}\": {} against {}",
                    path.escape_ascii(),
                    before.ino,
                    now.ino
                ),
            });
        }
    }
    Ok(())
}

/// Checks that nothing is left in a work directory but empty directories, and a whiteout
/// that was linked wherever one was needed.
pub(crate) fn check_work(after: usize, work: &Path) -> Result<(), Difference> {
    for entry in std::fs::read_dir(work).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_char_device() {
            continue;
        }
        if !entry.file_type().unwrap().is_dir() {
            return Err(Difference {
                kind: "left in work".to_owned(),
                after,
                what: entry.file_name().display().to_string(),
            });
        }
        check_work(after, &entry.path())?;
    }
    Ok(())
}
