//! OCI layouts (OCI image spec, "Image Layout"), in a directory or in a tar archive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::SourceError;
use super::files::Files;
use super::name;
use super::section::Section;
use crate::oci::{Descriptor, Digest, Index, Kind, MAX_MANIFEST_SIZE, Reference};

/// The file that says that a directory is a layout.
pub(super) const MARKER: &str = "oci-layout";
const KIND: &str = "OCI layout";

/// One image in an OCI layout.
#[derive(Debug)]
pub struct Layout {
    files: Arc<Files>,
    target: Descriptor,
    name: Reference,
    tag: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Why no image of a layout was chosen.
#[derive(Debug, PartialEq, Eq)]
enum Choice<'a> {
    One(&'a Descriptor),
    None,
    Several(usize),
}

impl Layout {
    /// Returns the prefix of its address, its path, and the tag by which it was chosen.
    pub(super) fn place(&self) -> (&'static str, &Path, Option<&str>) {
        let kind = match &*self.files {
            Files::Directory { .. } => "oci",
            Files::Archive(_) => "oci-archive",
        };
        (kind, self.files.path(), self.tag.as_deref())
    }

    pub(super) fn open(files: Files, tag: Option<&str>) -> Result<Self, SourceError> {
        let path = files.path().to_owned();
        let index = read_index(&files)?;
        let tags = || {
            index
                .manifests
                .iter()
                .filter_map(tag_of)
                .map(str::to_owned)
                .collect()
        };
        let target = match (choose(&index, tag), tag) {
            (Choice::One(target), _) => target,
            (Choice::None, Some(tag)) => {
                return Err(SourceError::NoTag {
                    path,
                    tag: tag.to_owned(),
                    tags: tags(),
                });
            }
            (Choice::None, None) => {
                let reason = "its index names no image".to_owned();
                return Err(SourceError::Invalid {
                    path,
                    kind: KIND,
                    reason,
                });
            }
            (Choice::Several(count), _) => {
                return Err(SourceError::Ambiguous {
                    path,
                    count,
                    tags: tags(),
                });
            }
        };
        let name = name::of_image(full_names(target), &path, tag.or(tag_of(target)));
        let target = target.clone();
        Ok(Self {
            files: Arc::new(files),
            tag: tag.map(str::to_owned),
            target,
            name,
        })
    }

    /// Returns all images of a layout, each with its names; the first is that of its layout.
    pub(super) fn all(files: &Arc<Files>) -> Result<Vec<(Self, Vec<Reference>)>, SourceError> {
        let path = files.path();
        let index = read_index(files)?;
        let mut images: BTreeMap<&Digest, (&Descriptor, Vec<Reference>)> = BTreeMap::new();
        for target in index.manifests.iter().filter(|child| is_image(child)) {
            let name = name::of_image(full_names(target), path, tag_of(target));
            let (_, names) = images
                .entry(&target.digest)
                .or_insert_with(|| (target, Vec::new()));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let image = |(target, names): (&Descriptor, Vec<Reference>)| {
            let layout = Self {
                files: Arc::clone(files),
                target: target.clone(),
                name: names.first()?.clone(),
                tag: tag_of(target).map(str::to_owned),
            };
            Some((layout, names))
        };
        Ok(images.into_values().filter_map(image).collect())
    }

    pub(super) fn name(&self) -> &Reference {
        &self.name
    }

    pub(super) fn target(&self) -> &Descriptor {
        &self.target
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Section, SourceError> {
        self.files
            .open(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
    }
}

/// Chooses the image with the tag; without one, the only image, or the one tagged `latest`.
fn choose<'a>(index: &'a Index, tag: Option<&str>) -> Choice<'a> {
    let images: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|child| is_image(child))
        .collect();
    let tagged = |tag: &str| -> Vec<&Descriptor> {
        images
            .iter()
            .copied()
            .filter(|image| has_tag(image, tag))
            .collect()
    };
    let found = match tag {
        Some(tag) => tagged(tag),
        None if images.len() > 1 => {
            let latest = tagged("latest");
            if latest.is_empty() {
                images.clone()
            } else {
                latest
            }
        }
        None => images.clone(),
    };
    match found.as_slice() {
        [] => Choice::None,
        [one] => Choice::One(one),
        // The same image may stand there twice.
        [first, rest @ ..] if rest.iter().all(|other| other.digest == first.digest) => {
            Choice::One(first)
        }
        several => Choice::Several(several.len()),
    }
}

fn read_index(files: &Files) -> Result<Index, SourceError> {
    let marker: Marker = read_json(files, MARKER)?;
    if !marker.image_layout_version.starts_with("1.") {
        let reason = format!("version {:?} is not supported", marker.image_layout_version);
        return Err(SourceError::Invalid {
            path: files.path().to_owned(),
            kind: KIND,
            reason,
        });
    }
    read_json(files, "index.json")
}

fn is_image(child: &Descriptor) -> bool {
    matches!(child.media_type.kind(), Kind::Index | Kind::Manifest) && !child.is_attestation()
}

/// Returns what may be whole names of an image.
fn full_names(image: &Descriptor) -> impl Iterator<Item = &str> {
    [Descriptor::IMAGE_NAME, Descriptor::REF_NAME]
        .iter()
        .filter_map(|key| image.annotations.get(*key))
        .map(String::as_str)
}

fn tag_of(image: &Descriptor) -> Option<&str> {
    let keys = [Descriptor::REF_NAME, Descriptor::IMAGE_NAME];
    keys.iter()
        .find_map(|key| image.annotations.get(*key))
        .map(String::as_str)
}

/// Says whether an image has a tag: as the text that a layout keeps, which may be a whole name,
/// or as the tag of that name.
fn has_tag(image: &Descriptor, tag: &str) -> bool {
    [Descriptor::REF_NAME, Descriptor::IMAGE_NAME]
        .iter()
        .any(|key| {
            image.annotations.get(*key).is_some_and(|name| {
                name == tag
                    || (name.contains('/')
                        && name.parse::<Reference>().is_ok_and(|name| {
                            name.tag() == Some(tag)
                                || tag.parse().is_ok_and(|tag: Reference| tag == name)
                        }))
            })
        })
}

pub(super) fn read_json<T: DeserializeOwned>(
    files: &Files,
    member: &str,
) -> Result<T, SourceError> {
    let bytes = files.open(member)?.read_all(MAX_MANIFEST_SIZE)?;
    serde_json::from_slice(&bytes).map_err(|source| SourceError::Json {
        path: files.path().to_owned(),
        member: member.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    fn image(name: &str, tag: &str) -> Descriptor {
        let mut image =
            Descriptor::new(MediaType::OCI_MANIFEST, Digest::sha256(name.as_bytes()), 1);
        if !tag.is_empty() {
            image
                .annotations
                .insert(Descriptor::REF_NAME.to_owned(), tag.to_owned());
        }
        image
    }

    #[test]
    fn choices() {
        let (one, two) = (image("a", "v1"), image("b", "v2"));
        let latest = image("c", "latest");
        let full = image("d", "h.io/d:v4");
        let layer = Descriptor {
            media_type: MediaType::OCI_LAYER.into(),
            ..image("e", "v1")
        };
        let cases = [
            ("the only one", vec![&one], None, Some("a")),
            (
                "the only one but for a layer",
                vec![&layer, &one],
                None,
                Some("a"),
            ),
            ("by tag", vec![&one, &two], Some("v2"), Some("b")),
            ("latest", vec![&one, &latest], None, Some("c")),
            (
                "by full name",
                vec![&one, &full],
                Some("h.io/d:v4"),
                Some("d"),
            ),
            (
                "by the tag of a full name",
                vec![&one, &full],
                Some("v4"),
                Some("d"),
            ),
            ("twice the same", vec![&one, &one], Some("v1"), Some("a")),
            ("no such tag", vec![&one], Some("v2"), None),
            ("nothing", vec![], None, None),
        ];
        for (why, images, tag, expected) in cases {
            let index = index(images);
            let expected = expected.map(|name| Digest::sha256(name.as_bytes()));
            match (choose(&index, tag), expected) {
                (Choice::One(found), Some(expected)) => assert_eq!(found.digest, expected, "{why}"),
                (found, expected) => assert!(found == Choice::None && expected.is_none(), "{why}"),
            }
        }
        assert_eq!(choose(&index(vec![&one, &two]), None), Choice::Several(2));
    }

    fn index(images: Vec<&Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: None,
            manifests: images.into_iter().cloned().collect(),
            annotations: std::collections::BTreeMap::new(),
        }
    }
}
