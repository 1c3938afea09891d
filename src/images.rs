//! Images: names for manifests, and what a user may say instead of a name.

mod change;
mod check;
mod contents;
mod select;
mod selection;

use thiserror::Error;

use crate::content::{Content, ContentError};
use crate::error_class::ErrorClass;
use crate::labels::LabelError;
use crate::meta::{ImageRecord, Meta, MetaError, Namespace, Transaction};
use crate::oci::{
    Descriptor, Digest, DocumentError, ParseReferenceError, Platform, PlatformMatcher, Reference,
};

pub(crate) use change::record;
pub use check::{CheckedImage, Completeness, check};
pub use contents::Contents;
pub use selection::{Platforms, Selection};

/// What is wrong with an image without documents.
pub(crate) const NO_MANIFEST: &str = "no manifest of it is in the store";

/// The fewest hexadecimal digits by which an image may be named.
const MIN_DIGITS: usize = 4;

/// Why an image could not be found or used.
#[derive(Debug, Error)]
pub enum ImageError {
    /// No record fits what the user has said.
    #[error("image {0:?} is not in the store")]
    NotFound(String),
    /// The image was to be removed only with another target.
    #[error("image {name:?} has target {found}, not {wanted}")]
    OtherTarget {
        /// The image.
        name: String,
        /// The target that was named.
        wanted: Digest,
        /// The target that it has.
        found: Digest,
    },
    /// The name is taken.
    #[error("image {0:?}: already exists")]
    AlreadyExists(String),
    /// The name or target of an image cannot be one.
    #[error("{0}")]
    Invalid(&'static str),
    /// The labels are none, or something that stays was to be updated.
    #[error(transparent)]
    Label(#[from] LabelError),
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
            Self::NotFound(_) => {
                Some("`mica images` lists what there is, and `mica pull` fetches more")
            }
            Self::AlreadyExists(_) => Some("`mica image tag --force` takes the name away"),
            Self::Ambiguous { .. } => Some("say more of the name or digest"),
            Self::Absent { .. } => Some("pull the image with --all-platforms"),
            _ => None,
        }
    }

    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) | Self::OtherTarget { .. } => ErrorClass::NotFound,
            Self::AlreadyExists(_) => ErrorClass::AlreadyExists,
            Self::Invalid(_) | Self::Name { .. } | Self::Ambiguous { .. } => {
                ErrorClass::InvalidArgument
            }
            Self::Label(error) => error.class(),
            Self::Content(error) => error.class(),
            _ => ErrorClass::Internal,
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

    /// Gives an image a further name, with its labels. A name that is taken is an error,
    /// or its image is replaced by `force`.
    pub fn tag(&self, input: &str, new_name: &str, force: bool) -> Result<ImageRecord, ImageError> {
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
            let ImageRecord { target, labels, .. } = self.find(transaction, input)?;
            let taken: Option<ImageRecord> = transaction.find(&self.namespace, &name)?;
            match taken {
                Some(_) if force => change::delete(transaction, &self.namespace, &name)?,
                Some(_) => return Err(ImageError::AlreadyExists(name.clone())),
                None => {}
            }
            let namespace = &self.namespace;
            Ok(change::create(
                transaction,
                namespace,
                &name,
                &target,
                labels,
            )?)
        })
    }

    /// Removes a name, if that stands for the target, where one is given. What it stood for
    /// stays until garbage is collected.
    pub fn remove(&self, input: &str, target: Option<&Digest>) -> Result<ImageRecord, ImageError> {
        self.meta.write(|transaction| {
            let image = self.find(transaction, input)?;
            change::check_target(&image, target)?;
            change::delete(transaction, &self.namespace, &image.name)?;
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

fn has_prefix(target: &Descriptor, input: &str) -> bool {
    let digits = input.split_once(':').map_or(input, |(_, digits)| digits);
    let text = target.digest.to_string();
    digits.len() >= MIN_DIGITS
        && (text.starts_with(input) && input.contains(':')
            || target.digest.hex().starts_with(input))
}

#[cfg(test)]
mod tests;
