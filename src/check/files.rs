//! What is in the directories of the store, and whether records and files name each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::CheckError;
use super::fault::Fault;
use crate::gc::INGEST_LIFE;
use crate::leases::Resource;
use crate::meta::{Kind, SnapshotId, Survey};
use crate::oci::{DiffId, Digest};
use crate::snapshots::Directories;
use crate::store::{Store, entries};

/// The files and directories that there are.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Blobs, with their sizes in bytes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    pub(super) layers: BTreeSet<DiffId>,
    pub(super) directories: BTreeSet<SnapshotId>,
    /// Names that the store does not give, and those that killed processes have left.
    others: Vec<Fault>,
}

/// Lists the directories of the store.
pub(super) fn list(store: &Store) -> Result<Listing, CheckError> {
    let root = store.root();
    let mut listing = Listing::default();
    for (path, digest) in digests(&root.join("content/blobs"), &mut listing.others)? {
        match fs::symlink_metadata(&path) {
            Ok(metadata) => drop(listing.blobs.insert(digest, metadata.len())),
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("stat", &path)(error)),
        }
    }
    let layers = digests(&root.join("layers"), &mut listing.others)?;
    listing.layers = layers
        .into_iter()
        .map(|(_, digest)| DiffId(digest))
        .collect();
    let snapshots = root.join("snapshots");
    for name in names(&snapshots)? {
        match name.parse().ok().filter(|id: &u64| id.to_string() == name) {
            Some(id) => drop(listing.directories.insert(SnapshotId(id))),
            None => listing.others.push(stranger(&snapshots, name)),
        }
    }
    let tmp = root.join("tmp");
    for name in names(&tmp)? {
        let directory = tmp.clone();
        listing.others.push(Fault::Leftover { name, directory });
    }
    expired(&root.join("content/ingests"), &mut listing.others)?;
    Ok(listing)
}

/// Compares records with files.
pub(super) fn compare(
    store: &Store,
    survey: &Survey,
    listing: &Listing,
) -> Result<Vec<Fault>, CheckError> {
    let mut faults = listing.others.clone();
    compare_blobs(survey, listing, &mut faults);
    compare_layers(survey, listing, &mut faults);
    compare_directories(store, survey, listing, &mut faults)?;
    Ok(faults)
}

fn compare_blobs(survey: &Survey, listing: &Listing, faults: &mut Vec<Fault>) {
    let mut unnamed = listing.blobs.clone();
    for (namespace, record) in &survey.content {
        let (namespace, digest) = (namespace.clone(), record.digest.clone());
        unnamed.remove(&digest);
        match listing.blobs.get(&digest) {
            None => faults.push(Fault::BlobMissing { namespace, digest }),
            Some(found) if *found != record.size => faults.push(Fault::BlobSize {
                namespace,
                digest,
                recorded: record.size,
                found: *found,
            }),
            Some(_) => {}
        }
    }
    unnamed.retain(|digest, _| !survey.leased.contains(&Resource::content(digest)));
    let orphans = unnamed.into_keys();
    faults.extend(orphans.map(|digest| Fault::BlobOrphan { digest }));
}

fn compare_layers(survey: &Survey, listing: &Listing, faults: &mut Vec<Fault>) {
    let mut unnamed = listing.layers.clone();
    for (_, record) in &survey.snapshots {
        if let Some(diff_id) = &record.layer
            && !unnamed.remove(diff_id)
            && !listing.layers.contains(diff_id)
        {
            let (diff_id, name) = (diff_id.clone(), record.name.clone());
            faults.push(Fault::LayerMissing { diff_id, name });
        }
    }
    unnamed.retain(|diff_id| !survey.leased.contains(&Resource::layer(diff_id)));
    let orphans = unnamed.into_iter();
    faults.extend(orphans.map(|diff_id| Fault::LayerOrphan { diff_id }));
}

fn compare_directories(
    store: &Store,
    survey: &Survey,
    listing: &Listing,
    faults: &mut Vec<Fault>,
) -> Result<(), CheckError> {
    let mut unnamed = listing.directories.clone();
    for (namespace, record) in &survey.snapshots {
        let Some(id) = record.id else { continue };
        unnamed.remove(&id);
        let (namespace, name) = (namespace.clone(), record.name.clone());
        let directories = Directories::new(store.root());
        if let Some(part) = directories.missing_part(id, record.kind == Kind::Active)? {
            faults.push(Fault::DirectoryMissing {
                namespace,
                name,
                id,
                part,
            });
        } else if directories.description(id).is_none() {
            faults.push(Fault::Undescribed {
                namespace,
                name,
                id,
            });
        }
    }
    let orphans = unnamed.into_iter();
    faults.extend(orphans.map(|id| Fault::DirectoryOrphan { id }));
    Ok(())
}

/// Returns what is named by a digest in the directories of the algorithms.
fn digests(top: &Path, others: &mut Vec<Fault>) -> Result<Vec<(PathBuf, Digest)>, CheckError> {
    let mut found = Vec::new();
    for algorithm in names(top)? {
        let directory = top.join(&algorithm);
        if !directory.is_dir() {
            others.push(stranger(top, algorithm));
            continue;
        }
        for name in names(&directory)? {
            match Digest::from_parts(&algorithm, &name) {
                Ok(digest) => found.push((directory.join(name), digest)),
                // A small blob on its way, see `publish::write_file`.
                Err(_) if name.starts_with('.') => others.push(Fault::Leftover {
                    name,
                    directory: directory.clone(),
                }),
                Err(_) => others.push(stranger(&directory, name)),
            }
        }
    }
    Ok(found)
}

/// Finds downloads that are too old to be taken up again.
fn expired(ingests: &Path, others: &mut Vec<Fault>) -> Result<(), CheckError> {
    for name in names(ingests)? {
        let path = ingests.join(&name);
        let data = path.join("data");
        let modified = fs::metadata(if data.exists() { &data } else { &path })
            .and_then(|metadata| metadata.modified());
        let modified = match modified {
            // Finished meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed("stat", &path))?,
        };
        let age = SystemTime::now().duration_since(modified);
        if age.unwrap_or_default() >= INGEST_LIFE {
            let directory = ingests.to_owned();
            others.push(Fault::Leftover { name, directory });
        }
    }
    Ok(())
}

fn stranger(directory: &Path, name: String) -> Fault {
    Fault::Stranger {
        name,
        directory: directory.to_owned(),
    }
}

fn names(path: &Path) -> Result<Vec<String>, CheckError> {
    entries(path).map_err(failed("list", path))
}

pub(super) fn failed<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> CheckError + 'a {
    move |source| CheckError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}
