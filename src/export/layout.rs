//! OCI layouts (OCI image spec, "Image Layout").

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::archive::{Archive, copy_verified};
use super::docker::{self, Listed};
use super::output::named;
use super::{ExportError, Platforms};
use crate::images::Selection;
use crate::meta::ImageRecord;
use crate::oci::{Descriptor, Digest, Index, MediaType, Reference};
use crate::publish;
use crate::store::Store;

const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image, and what of it is written.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) name: String,
    pub(super) selection: Selection,
}

/// Finds what of the images is written.
pub(super) fn select(
    store: &Store,
    images: &[ImageRecord],
    platforms: &Platforms,
) -> Result<Vec<Copy>, ExportError> {
    let (content, layers) = (store.content(), store.layers());
    let mut copies = Vec::new();
    for image in images {
        let selection = Selection::of(&content, &layers, image, platforms)?;
        copies.push(Copy {
            name: image.name.clone(),
            selection,
        });
    }
    Ok(copies)
}

/// Writes an archive: what says what is in it, then the blobs, sorted.
pub(super) fn write_archive(
    store: &Store,
    copies: &[Copy],
    output: &mut dyn Write,
) -> Result<(), ExportError> {
    let index = json_of(&index(Vec::new(), copies), "the index")?;
    // Docker before 25 knows no layouts, and reads this list of the same blobs.
    let listed: Vec<Listed> = copies.iter().filter_map(docker::listed).collect();
    let mut archive = Archive::new(output);
    archive.bytes("oci-layout", MARKER.as_bytes())?;
    archive.bytes("index.json", &index)?;
    if !listed.is_empty() {
        archive.bytes("manifest.json", &json_of(&listed, "the list of images")?)?;
    }
    archive.directory("blobs/")?;
    let mut algorithm = None;
    for (descriptor, bytes) in blobs(copies) {
        let digest = &descriptor.digest;
        if algorithm.replace(digest.algorithm()) != Some(digest.algorithm()) {
            archive.directory(&format!("blobs/{}/", digest.algorithm()))?;
        }
        let path = path_of(digest);
        match bytes {
            Some(bytes) => archive.bytes(&path, bytes)?,
            None => {
                if let Some(file) = open(store, descriptor)? {
                    archive.file(&path, &file, digest, descriptor.size)?;
                }
            }
        }
    }
    archive.finish()
}

/// Writes a directory, or adds to the one that is there.
pub(super) fn write_directory(
    store: &Store,
    copies: &[Copy],
    path: &Path,
) -> Result<(), ExportError> {
    let old = read_index(path)?;
    // Not beside the index: what is left there would make the directory somebody else's.
    let drafts = path.join("blobs");
    for (descriptor, bytes) in blobs(copies) {
        let to = path.join(path_of(&descriptor.digest));
        if fs::metadata(&to).is_ok_and(|there| there.len() == descriptor.size) {
            continue;
        }
        let written = match bytes {
            Some(bytes) => put(&drafts, &to, |output| {
                output.write_all(bytes).map_err(ExportError::Output)
            }),
            None => match open(store, descriptor)? {
                Some(file) => put(&drafts, &to, |output| {
                    copy_verified(&file, &descriptor.digest, descriptor.size, output)
                }),
                None => Ok(()),
            },
        };
        written.map_err(|error| named(error, &to))?;
    }
    let index = json_of(&index(old, copies), "the index")?;
    for (name, bytes) in [("oci-layout", MARKER.as_bytes()), ("index.json", &index)] {
        let to = path.join(name);
        put(&drafts, &to, |output| {
            output.write_all(bytes).map_err(ExportError::Output)
        })
        .map_err(|error| named(error, &to))?;
    }
    Ok(())
}

/// Returns what the layout in a directory names; nothing of a new one.
fn read_index(path: &Path) -> Result<Vec<Descriptor>, ExportError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io {
            operation,
            path,
            source,
        }
    };
    fs::create_dir_all(path).map_err(failed("create", path))?;
    let file = path.join("index.json");
    match fs::read(&file) {
        Ok(bytes) if path.join("oci-layout").exists() => {
            let index: Index = serde_json::from_slice(&bytes)
                .map_err(|source| ExportError::Json { path: file, source })?;
            Ok(index.manifests)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("read", &file)(error)),
        _ => {
            let mut entries = fs::read_dir(path).map_err(failed("list", path))?;
            // What an export that was cut short has left is not in the way.
            let is_ours = |name: &std::ffi::OsStr| name == "blobs" || name == "oci-layout";
            let is_foreign =
                entries.any(|entry| entry.map_or(true, |entry| !is_ours(&entry.file_name())));
            if is_foreign {
                return Err(ExportError::Foreign(path.to_owned()));
            }
            Ok(Vec::new())
        }
    }
}

/// Writes a file, which has its name when it is whole.
fn put(
    drafts: &Path,
    to: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let parent = to.parent().unwrap_or(Path::new(""));
    for directory in [drafts, parent] {
        fs::create_dir_all(directory).map_err(ExportError::Output)?;
    }
    let draft = drafts.join(format!(".{}", publish::unique_name()));
    let mut file = File::create_new(&draft).map_err(ExportError::Output)?;
    let result =
        write(&mut file).and_then(|()| fs::rename(&draft, to).map_err(ExportError::Output));
    if result.is_err() {
        // It has no name that anybody looks for.
        drop(fs::remove_file(&draft));
    }
    result
}

/// Returns an index of what was there and of the copies, which take their names away from
/// what was there.
fn index(mut manifests: Vec<Descriptor>, copies: &[Copy]) -> serde_json::Value {
    for copy in copies {
        let tag = copy.name.parse::<Reference>().ok();
        let tag = tag.as_ref().and_then(Reference::tag);
        manifests.retain(|old| {
            let name = old.annotations.get(Descriptor::IMAGE_NAME);
            let old_tag = old.annotations.get(Descriptor::REF_NAME);
            match name {
                Some(name) => *name != copy.name,
                // Without a whole name, the tag is the name.
                None => old_tag.is_none() || old_tag.map(String::as_str) != tag,
            }
        });
        let mut target = copy.selection.target.clone();
        let annotations = &mut target.annotations;
        annotations.insert(Descriptor::IMAGE_NAME.to_owned(), copy.name.clone());
        if let Some(tag) = tag {
            annotations.insert(Descriptor::REF_NAME.to_owned(), tag.to_owned());
        }
        manifests.push(target);
    }
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": manifests,
    })
}

/// Returns all documents, with their bytes, and all blobs, each once and sorted.
fn blobs(copies: &[Copy]) -> Vec<(&Descriptor, Option<&[u8]>)> {
    let mut all: Vec<(&Descriptor, Option<&[u8]>)> = Vec::new();
    for Copy { selection, .. } in copies {
        let documents = selection.documents.iter();
        all.extend(documents.map(|(descriptor, bytes)| (descriptor, Some(bytes.as_slice()))));
        all.extend(selection.blobs.iter().map(|blob| (blob, None)));
    }
    all.sort_by(|(a, _), (b, _)| a.digest.cmp(&b.digest));
    all.dedup_by(|(a, _), (b, _)| a.digest == b.digest);
    all
}

/// Opens a blob; nothing for one that is had from elsewhere.
fn open(store: &Store, descriptor: &Descriptor) -> Result<Option<File>, ExportError> {
    let content = store.content();
    match content.size(&descriptor.digest)? {
        Some(size) if size == descriptor.size => Ok(Some(content.open(&descriptor.digest)?)),
        None if descriptor.media_type.is_foreign() => Ok(None),
        _ => Err(ExportError::Missing(descriptor.digest.clone())),
    }
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

pub(super) fn json_of(
    value: &impl serde::Serialize,
    what: &'static str,
) -> Result<Vec<u8>, ExportError> {
    serde_json::to_vec(value).map_err(|source| ExportError::Document(what, source))
}
