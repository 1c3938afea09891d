//! Plans: small files that say what the tree of each snapshot is made of.
//!
//! They are for the process that serves, not for the disk: after a crash of the machine
//! nothing is mounted, and a plan is made anew before it is needed.

use std::fs;
use std::io;
use std::path::Path;

use super::{ViewsError, failed, failed_word};
use crate::meta::SnapshotId;
use crate::mounts::TreePlan;
use crate::publish;

/// What writing a plan has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// There was none.
    New,
    /// There was another.
    Changed,
    /// It was there.
    Same,
}

impl TreePlan {
    /// Writes the plan so that there is either the old or the new one.
    pub(super) fn write(&self, path: &Path) -> Result<Written, ViewsError> {
        let bytes = serde_json::to_vec(self).map_err(failed_word(path))?;
        let written = match fs::read(path) {
            Ok(old) if old == bytes => return Ok(Written::Same),
            Ok(_) => Written::Changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Written::New,
            Err(error) => return Err(failed("read", path)(error)),
        };
        let new = path.with_file_name(format!(".{}", publish::unique_name()));
        fs::write(&new, bytes)
            .and_then(|()| fs::rename(&new, path))
            .map_err(failed("write", path))?;
        Ok(written)
    }

    /// Reads a plan; `None` where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, ViewsError> {
        match fs::read(path) {
            Ok(bytes) => {
                let plan = serde_json::from_slice(&bytes);
                plan.map(Some).map_err(failed_word(path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", path)(error)),
        }
    }
}

/// Removes a plan, if there is one.
pub(super) fn remove(path: &Path) -> Result<(), ViewsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", path)),
    }
}

/// Lists the snapshots that have a plan.
pub(super) fn list(directory: &Path) -> Result<Vec<SnapshotId>, ViewsError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", directory)(error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed("list", directory))?.file_name();
        // Not one that is just being written, or whose writer was killed.
        ids.extend(name.to_str().and_then(SnapshotId::named));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::LayerPlan;
    use crate::snapshots::SnapshotMounts;

    #[test]
    fn a_plan_is_written_where_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("7");
        let plan = TreePlan::from(SnapshotMounts::empty());
        let other = TreePlan {
            layers: vec![LayerPlan::Directory("/layer".into())],
            ..plan.clone()
        };
        assert_eq!(TreePlan::read(&path).unwrap(), None);
        let table = [
            (&plan, Written::New),
            (&plan, Written::Same),
            (&other, Written::Changed),
        ];
        for (plan, expected) in table {
            assert_eq!(plan.write(&path).unwrap(), expected);
            assert_eq!(TreePlan::read(&path).unwrap().as_ref(), Some(plan));
        }
        assert_eq!(list(directory.path()).unwrap(), [SnapshotId(7)]);
        for _ in 0..2 {
            remove(&path).unwrap();
            assert_eq!(list(directory.path()).unwrap(), []);
        }
    }
}
