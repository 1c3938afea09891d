//! What a user names to mount it or to stand on it: an image by any of its names, or a
//! snapshot by its whole name. An image comes first.

use thiserror::Error;

use crate::error_class::ErrorClass;
use crate::images::{Contents, ImageError, Images};
use crate::layers::{LayerError, LayerPlan};
use crate::meta::{ImageRecord, Labels, Namespace};
use crate::oci::{DiffId, Platform};
use crate::pull::{Observer, PullError, Unpack, mend, unpack};
use crate::registry;
use crate::snapshots::{BASE_LABEL, SnapshotError, SnapshotMounts, Snapshots};
use crate::store::Store;

/// Why what was named could not be found, or not be used.
#[derive(Debug, Error)]
pub enum NamedError {
    /// There is no such image, or it cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A layer is not there or cannot be used.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer could not be made from its blob.
    #[error(transparent)]
    Pull(#[from] Box<PullError>),
}

impl NamedError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Pull(error) => error.hint(),
        }
    }

    /// Returns the class under which containerd reports the error, but for a pull's.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Image(error) => error.class(),
            Self::Snapshot(error) => error.class(),
            Self::Layer(_) | Self::Pull(_) => ErrorClass::Internal,
        }
    }
}

/// What the user has named.
#[derive(Debug)]
pub struct Named {
    /// The image, where one was named.
    pub image: Option<ImageRecord>,
    /// `None` for an image without layers.
    pub snapshot: Option<String>,
    /// What it is made of, read-only.
    pub shown: SnapshotMounts,
    /// What the layers can be made from, where an image was named.
    pub contents: Option<Contents>,
}

impl Named {
    /// Finds what was named; of an image for several platforms the one for `platform`.
    pub fn find(
        store: &Store,
        namespace: &Namespace,
        what: &str,
        platform: &Platform,
    ) -> Result<Self, NamedError> {
        let images = Images::new(store.meta(), store.content(), namespace.clone());
        let image = match images.resolve(what) {
            Ok(image) => image,
            Err(not_found @ ImageError::NotFound(_)) => {
                let snapshots = Snapshots::new(store, namespace.clone());
                let shown = match snapshots.show(what) {
                    Err(SnapshotError::NotFound(_)) => return Err(not_found.into()),
                    other => other?,
                };
                return Ok(Self {
                    image: None,
                    snapshot: Some(what.to_owned()),
                    shown,
                    contents: None,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let contents = images.contents_for(&image, platform)?;
        Ok(Self {
            image: Some(image),
            snapshot: contents.chain_id().map(|chain_id| chain_id.to_string()),
            shown: SnapshotMounts::of_packed(contents.config.diff_ids()),
            contents: Some(contents),
        })
    }

    /// Returns the full name of the image, where an image was named.
    pub fn image_name(&self) -> Option<&str> {
        self.image.as_ref().map(|image| image.name.as_str())
    }

    /// Returns the labels of a snapshot that is made on it: which image it was made on.
    pub fn base_labels(&self) -> Labels {
        let base = |image: &str| (BASE_LABEL.to_owned(), image.to_owned());
        self.image_name().map(base).into_iter().collect()
    }

    /// Says whether everything is there: the layers, and where something is to stand on it,
    /// its snapshots too. What is missing of an image can be made.
    pub fn check(&self, store: &Store, is_parent: bool) -> Result<Readiness<'_>, NamedError> {
        let packed = self.shown.layers.iter().filter_map(LayerPlan::diff_id);
        let packed: Vec<DiffId> = packed.cloned().collect();
        let are_ready = store.layers().require(&packed);
        let (Some(image), Some(contents)) = (&self.image, &self.contents) else {
            are_ready?;
            return Ok(Readiness::Ready);
        };
        if !is_parent && are_ready.is_ok() {
            return Ok(Readiness::Ready);
        }
        Ok(Readiness::ToMake(Missing {
            image,
            contents,
            is_parent,
        }))
    }
}

/// Whether what was named can be used at once.
#[derive(Debug)]
pub enum Readiness<'n> {
    /// It can.
    Ready,
    /// Something of it has to be made first.
    ToMake(Missing<'n>),
}

/// An image of which layers or snapshots may be missing.
#[derive(Debug)]
pub struct Missing<'n> {
    image: &'n ImageRecord,
    contents: &'n Contents,
    is_parent: bool,
}

impl Missing<'_> {
    /// Makes what is missing, from blobs that are fetched where they are missing too.
    pub async fn make(
        &self,
        store: &std::sync::Arc<Store>,
        namespace: &Namespace,
    ) -> Result<(), NamedError> {
        let registry = registry::Options {
            hosts_dirs: registry::default_hosts_dirs(),
            ..registry::Options::default()
        };
        let work = Unpack {
            image: self.image,
            contents: self.contents,
            namespace,
            registry: &registry,
            observer: Observer::default(),
        };
        let made = if self.is_parent {
            unpack(store, &work).await.map(drop)
        } else {
            mend(store, &work).await.map(drop)
        };
        made.map_err(|error| Box::new(error).into())
    }
}
