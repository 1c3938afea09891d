//! Images: names for manifests, and what a user may say instead of a name.

mod contents;
mod select;
mod selection;

use jiff::Timestamp;
use thiserror::Error;

use crate::content::{Content, ContentError};
use crate::meta::{ImageRecord, Labels, Meta, MetaError, Namespace, Transaction};
use crate::oci::{
    Descriptor, Digest, DocumentError, ParseReferenceError, Platform, PlatformMatcher, Reference,
};

pub use contents::Contents;
pub(crate) use contents::reachable;
pub use selection::{Platforms, Selection};

/// The fewest hexadecimal digits by which an image may be named.
const MIN_DIGITS: usize = 4;

/// Why an image could not be found or used.
#[derive(Debug, Error)]
pub enum ImageError {
    /// No record fits what the user has said.
    #[error("image {0:?} is not in the store")]
    NotFound(String),
    /// A digest prefix fits several images.
    #[error("{input:?} fits several images: {}", names.join(", "))]
    Ambiguous {
        /// What the user has said.
        input: String,
        /// The images that it fits.
        names: Vec<String>,
    },
    /// A new name is not an image reference.
    #[error("{input:?} is not an image name")]
    Name {
        /// The name.
        input: String,
        /// What is wrong with it.
        source: ParseReferenceError,
    },
    /// The image's index has no manifest that is in the store.
    #[error("image {0:?} has no manifest in the store")]
    NoManifest(String),
    /// A part of the image that was asked for is not in the store.
    #[error("{digest} of {image:?}{} is not in the store", platform.as_ref().map(|p| format!(", for {p},")).unwrap_or_default())]
    Absent {
        /// The image.
        image: String,
        /// The manifest that is missing, or without its layers.
        digest: Digest,
        /// The platform that it is for.
        platform: Option<Platform>,
    },
    /// Indexes are nested too deep, or refer to too many documents.
    #[error("image {0:?} has too many documents")]
    TooManyDocuments(String),
    /// A document could be read both as an index and as a manifest.
    #[error("{0} could be an index as well as a manifest")]
    Confused(Digest),
    /// A document is not JSON of the right form.
    #[error("{digest} is not valid")]
    Json {
        /// The document.
        digest: Digest,
        /// Where the reader stopped.
        source: serde_json::Error,
    },
    /// A document of the image cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A document of the image cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl ImageError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) => Some("`mica images` lists what there is"),
            Self::Ambiguous { .. } => Some("say more of the name or digest"),
            Self::Absent { .. } => Some("pull the image with --all-platforms"),
            _ => None,
        }
    }
}

/// The images of one namespace.
#[derive(Debug, Clone)]
pub struct Images {
    meta: Meta,
    content: Content,
    namespace: Namespace,
}

impl Images {
    /// Returns the images that have records in `meta` and documents in `content`.
    pub fn new(meta: Meta, content: Content, namespace: Namespace) -> Self {
        Self {
            meta,
            content,
            namespace,
        }
    }

    /// Lists all images, sorted by name.
    pub fn list(&self) -> Result<Vec<ImageRecord>, ImageError> {
        self.meta
            .read(|transaction| Ok(transaction.list(&self.namespace)?))
    }

    /// Returns the image that a user means: by its full name, a short form of it, or
    /// the first digits of its digest.
    pub fn resolve(&self, input: &str) -> Result<ImageRecord, ImageError> {
        self.meta.read(|transaction| self.find(transaction, input))
    }

    /// Gives an image a further name, which replaces that name's image.
    pub fn tag(&self, input: &str, new_name: &str) -> Result<ImageRecord, ImageError> {
        let name = match new_name.parse::<Reference>() {
            Ok(reference) => reference.to_string(),
            Err(source) => {
                return Err(ImageError::Name {
                    input: new_name.to_owned(),
                    source,
                });
            }
        };
        self.meta.write(|transaction| {
            let image = self.find(transaction, input)?;
            Ok(record(transaction, &self.namespace, &name, &image.target)?)
        })
    }

    /// Removes a name. What it stood for stays until a sweep.
    pub fn remove(&self, input: &str) -> Result<ImageRecord, ImageError> {
        self.meta.write(|transaction| {
            let image = self.find(transaction, input)?;
            transaction.remove::<ImageRecord>(&self.namespace, &image.name)?;
            Ok(image)
        })
    }

    /// Returns the manifest, config and chain of an image, as the store has them.
    pub fn contents(&self, image: &ImageRecord) -> Result<Contents, ImageError> {
        self.contents_for(image, &Platform::host())
    }

    /// Returns the same for another platform than this machine's.
    pub fn contents_for(
        &self,
        image: &ImageRecord,
        platform: &Platform,
    ) -> Result<Contents, ImageError> {
        contents::read(&self.content, image, &PlatformMatcher::new(platform))
    }

    fn find(&self, transaction: &Transaction, input: &str) -> Result<ImageRecord, ImageError> {
        let full = input
            .parse::<Reference>()
            .map(|reference| reference.to_string());
        for name in [Some(input), full.as_deref().ok()].into_iter().flatten() {
            if !name.is_empty()
                && let Some(image) = transaction.find(&self.namespace, name)?
            {
                return Ok(image);
            }
        }
        let mut images = transaction.list::<ImageRecord>(&self.namespace)?;
        images.retain(|image| has_prefix(&image.target, input));
        let is_one_target = images
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.target.digest == b.target.digest));
        match images.first() {
            Some(image) if is_one_target => Ok(image.clone()),
            Some(_) => Err(ImageError::Ambiguous {
                input: input.to_owned(),
                names: images.into_iter().map(|image| image.name).collect(),
            }),
            None => Err(ImageError::NotFound(input.to_owned())),
        }
    }
}

/// Creates an image record, or gives an existing one a new target; `created` stays.
pub(crate) fn record(
    transaction: &Transaction,
    namespace: &Namespace,
    name: &str,
    target: &Descriptor,
) -> Result<ImageRecord, MetaError> {
    let now = Timestamp::now();
    let old: Option<ImageRecord> = transaction.find(namespace, name)?;
    let image = ImageRecord {
        name: name.to_owned(),
        target: target.clone(),
        labels: Labels::new(),
        created: old.map_or(now, |old| old.created),
        updated: now,
    };
    transaction.put(namespace, name, &image)?;
    Ok(image)
}

fn has_prefix(target: &Descriptor, input: &str) -> bool {
    let digits = input.split_once(':').map_or(input, |(_, digits)| digits);
    let text = target.digest.to_string();
    digits.len() >= MIN_DIGITS
        && (text.starts_with(input) && input.contains(':')
            || target.digest.hex().starts_with(input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;
    use crate::store::Store;

    fn images(store: &Store) -> Images {
        Images::new(store.meta(), store.content(), Namespace::default())
    }

    fn add(store: &Store, name: &str, content: &[u8]) -> ImageRecord {
        let target = Descriptor::of(MediaType::OCI_MANIFEST, content);
        store
            .meta()
            .write(|t| record(t, &Namespace::default(), name, &target))
            .unwrap()
    }

    #[test]
    fn users_may_say_less_than_the_full_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s")).unwrap();
        let debian = add(&store, "docker.io/library/debian:latest", b"debian");
        add(&store, "localhost:5000/python:3", b"python");
        let digest = debian.target.digest.clone();
        let table = [
            ("full name", "docker.io/library/debian:latest".to_owned()),
            ("short name", "debian".to_owned()),
            ("with tag", "debian:latest".to_owned()),
            ("whole digest", digest.to_string()),
            ("digits", digest.hex()[..8].to_owned()),
            (
                "algorithm and digits",
                format!("sha256:{}", &digest.hex()[..4]),
            ),
        ];
        for (why, input) in table {
            assert_eq!(
                images(&store).resolve(&input).unwrap().name,
                debian.name,
                "{why}"
            );
        }
        for (why, input) in [
            ("other tag", "debian:12"),
            ("too few digits", &digest.hex()[..3]),
            ("empty", ""),
        ] {
            assert!(
                matches!(images(&store).resolve(input), Err(ImageError::NotFound(_))),
                "{why}"
            );
        }
    }

    #[test]
    fn an_update_keeps_the_time_of_creation() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s")).unwrap();
        let old = add(&store, "docker.io/library/a:latest", b"1");
        let new = add(&store, "docker.io/library/a:latest", b"2");
        assert_eq!(old.created, new.created);
        assert!(new.updated > old.updated);
        assert_ne!(old.target, new.target);
    }

    #[test]
    fn two_names_of_one_image_are_not_ambiguous() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s")).unwrap();
        let image = add(&store, "docker.io/library/a:latest", b"1");
        images(&store).tag("a", "b:2").unwrap();
        assert_eq!(images(&store).resolve("b:2").unwrap().target, image.target);
        images(&store)
            .resolve(&image.target.digest.hex()[..12])
            .unwrap();
        images(&store).remove("a").unwrap();
        assert_eq!(images(&store).list().unwrap().len(), 1);
        assert!(matches!(
            images(&store).tag("b:2", "UPPER"),
            Err(ImageError::Name { .. })
        ));
    }
}
