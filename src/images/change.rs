//! Images made, changed and removed by their full names, with containerd's rules and words.

use jiff::Timestamp;

use super::{ImageError, Images};
use crate::events::Event;
use crate::labels::{self, LabelError};
use crate::meta::{ImageRecord, Labels, MetaError, Namespace, Transaction};
use crate::oci::{Descriptor, Digest};

impl Images {
    /// Returns the record of one image.
    pub fn info(&self, name: &str) -> Result<ImageRecord, ImageError> {
        self.meta
            .read(|transaction| existing(transaction, &self.namespace, name))
    }

    /// Makes an image of a name that none has.
    pub fn create(
        &self,
        name: &str,
        target: &Descriptor,
        labels: Labels,
    ) -> Result<ImageRecord, ImageError> {
        let labels = labels::checked(labels)?;
        check(name, target)?;
        self.meta.write(|transaction| {
            if transaction
                .find::<ImageRecord>(&self.namespace, name)?
                .is_some()
            {
                return Err(ImageError::AlreadyExists(name.to_owned()));
            }
            Ok(create(transaction, &self.namespace, name, target, labels)?)
        })
    }

    /// Changes the image that has the name of the given one: under a field mask of `target`,
    /// `labels`, `labels.KEY`, `annotations` and `annotations.KEY`, or without one all but
    /// the time when it was made.
    pub fn update(&self, image: &ImageRecord, mask: &[&str]) -> Result<ImageRecord, ImageError> {
        self.meta.write(|transaction| {
            let mut updated = existing(transaction, &self.namespace, &image.name)?;
            if mask.is_empty() {
                updated.target.clone_from(&image.target);
                updated.labels.clone_from(&image.labels);
            }
            for field in mask {
                update_field(&mut updated, image, field)?;
            }
            let kept = labels::checked(std::mem::take(&mut updated.labels))?;
            updated.labels = kept;
            check(&updated.name, &updated.target)?;
            updated.updated = Timestamp::now();
            put_updated(transaction, &self.namespace, &updated)?;
            Ok(updated)
        })
    }

    /// Removes an image by its full name, if that stands for the target, where one is given.
    /// What it stood for stays until garbage is collected.
    pub fn delete(&self, name: &str, target: Option<&Digest>) -> Result<(), ImageError> {
        self.meta.write(|transaction| {
            let image = existing(transaction, &self.namespace, name)?;
            check_target(&image, target)?;
            Ok(delete(transaction, &self.namespace, name)?)
        })
    }
}

/// Creates an image record, or gives an existing one a new target and no labels; `created`
/// stays.
pub(crate) fn record(
    transaction: &Transaction,
    namespace: &Namespace,
    name: &str,
    target: &Descriptor,
) -> Result<ImageRecord, MetaError> {
    let Some(old) = transaction.find::<ImageRecord>(namespace, name)? else {
        return create(transaction, namespace, name, target, Labels::new());
    };
    let image = ImageRecord {
        target: target.clone(),
        labels: Labels::new(),
        updated: Timestamp::now(),
        ..old
    };
    put_updated(transaction, namespace, &image)?;
    Ok(image)
}

pub(super) fn create(
    transaction: &Transaction,
    namespace: &Namespace,
    name: &str,
    target: &Descriptor,
    labels: Labels,
) -> Result<ImageRecord, MetaError> {
    let now = Timestamp::now();
    let image = ImageRecord {
        name: name.to_owned(),
        target: target.clone(),
        labels,
        created: now,
        updated: now,
    };
    transaction.put(namespace, name, &image)?;
    let ImageRecord { name, labels, .. } = image.clone();
    transaction.publish(namespace, Event::ImageCreate { name, labels });
    Ok(image)
}

pub(super) fn delete(
    transaction: &Transaction,
    namespace: &Namespace,
    name: &str,
) -> Result<(), MetaError> {
    transaction.remove::<ImageRecord>(namespace, name)?;
    let name = name.to_owned();
    transaction.publish(namespace, Event::ImageDelete { name });
    Ok(())
}

/// Makes sure that an image has the target that somebody means.
pub(super) fn check_target(image: &ImageRecord, wanted: Option<&Digest>) -> Result<(), ImageError> {
    match wanted {
        Some(wanted) if *wanted != image.target.digest => Err(ImageError::OtherTarget {
            name: image.name.clone(),
            wanted: wanted.clone(),
            found: image.target.digest.clone(),
        }),
        _ => Ok(()),
    }
}

fn put_updated(
    transaction: &Transaction,
    namespace: &Namespace,
    image: &ImageRecord,
) -> Result<(), MetaError> {
    transaction.put(namespace, &image.name, image)?;
    let ImageRecord { name, labels, .. } = image.clone();
    transaction.publish(namespace, Event::ImageUpdate { name, labels });
    Ok(())
}

fn existing(
    transaction: &Transaction,
    namespace: &Namespace,
    name: &str,
) -> Result<ImageRecord, ImageError> {
    match transaction.find(namespace, name) {
        Ok(Some(image)) => Ok(image),
        Ok(None) | Err(MetaError::Name { .. }) => Err(ImageError::NotFound(name.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// Does what one path of a field mask says.
fn update_field(
    updated: &mut ImageRecord,
    new: &ImageRecord,
    field: &str,
) -> Result<(), LabelError> {
    let (old, annotations) = (&mut updated.target.annotations, &new.target.annotations);
    if field == "target" {
        updated.target.clone_from(&new.target);
    } else if labels::update_field(old, "annotations", annotations, field) {
        old.retain(|_, value| !value.is_empty());
    } else if !labels::update_field(&mut updated.labels, "labels", &new.labels, field) {
        return Err(LabelError::Field {
            field: field.to_owned(),
            kind: "image",
            name: new.name.clone(),
        });
    }
    Ok(())
}

/// Makes sure that a name can be one and a target something.
fn check(name: &str, target: &Descriptor) -> Result<(), ImageError> {
    let problem = if name.is_empty() || name.contains('\0') {
        "image name must not be empty"
    } else if target.size == 0 {
        "Target.Size must be greater than zero"
    } else if target.media_type.as_str().is_empty() {
        "Target.MediaType must be set"
    } else {
        return Ok(());
    };
    Err(ImageError::Invalid(problem))
}
