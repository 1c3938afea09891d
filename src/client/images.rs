//! Images.

use mica_proto::images::images_client::ImagesClient;
use mica_proto::images::images_server::Images as _;
use mica_proto::images::{Image, ListImagesRequest, UpdateImageRequest};
use mica_proto::mica::checked_image::Completeness as Message;
use mica_proto::mica::mica_client::MicaClient;
use mica_proto::mica::mica_server::Mica as _;
use mica_proto::mica::{
    CheckImagesRequest, CheckedImage as CheckedMessage, RemoveImageRequest, ResolveImageRequest,
    TagImageRequest,
};

use super::answer::{field, field_mask, parsed};
use super::{Client, ClientError, ask, follow};
use crate::api::convert;
use crate::images::{CheckedImage, Completeness};
use crate::meta::{ImageRecord, Labels};
use crate::oci::Digest;

impl Client {
    /// Lists the images that one of the filters matches.
    pub(crate) fn images(&self, filters: &[String]) -> Result<Vec<ImageRecord>, ClientError> {
        let filters = filters.to_vec();
        let list = ListImagesRequest { filters };
        let listed = ask!(self, images, ImagesClient::list, list)?;
        listed.images.into_iter().map(record).collect()
    }

    /// Returns the image that the user means.
    pub(crate) fn image(&self, name: &str) -> Result<ImageRecord, ClientError> {
        let image = name.to_owned();
        let resolve = ResolveImageRequest { image };
        record(ask!(self, mica, MicaClient::resolve_image, resolve)?)
    }

    /// Gives an image a further name.
    pub(crate) fn tag_image(
        &self,
        image: &str,
        name: &str,
        force: bool,
    ) -> Result<ImageRecord, ClientError> {
        let tag = TagImageRequest {
            image: image.to_owned(),
            name: name.to_owned(),
            force,
        };
        record(ask!(self, mica, MicaClient::tag_image, tag)?)
    }

    /// Removes a name, if it stands for the target, where one is given.
    pub(crate) fn remove_image(
        &self,
        image: &str,
        target: Option<&Digest>,
    ) -> Result<ImageRecord, ClientError> {
        let remove = RemoveImageRequest {
            image: image.to_owned(),
            target: target.map(ToString::to_string).unwrap_or_default(),
        };
        record(ask!(self, mica, MicaClient::remove_image, remove)?)
    }

    /// Changes labels of the image of a full name, under a field mask.
    pub(crate) fn label_image(
        &self,
        name: &str,
        labels: &Labels,
        mask: &[&str],
    ) -> Result<ImageRecord, ClientError> {
        let update = UpdateImageRequest {
            image: Some(Image {
                name: name.to_owned(),
                labels: labels.clone(),
                ..Image::default()
            }),
            update_mask: Some(field_mask(mask)),
            ..UpdateImageRequest::default()
        };
        let updated = ask!(self, images, ImagesClient::update, update)?;
        record(field(updated.image, "image")?)
    }

    /// Looks at the images that one of the filters matches.
    pub(crate) fn check_images(
        &self,
        filters: &[String],
    ) -> Result<Vec<CheckedImage>, ClientError> {
        let filters = filters.to_vec();
        let check = CheckImagesRequest { filters };
        let mut checked_images = Vec::new();
        follow!(self, mica, MicaClient::check_images, check, |image| {
            checked_images.push(checked(image)?);
            Ok::<_, ClientError>(())
        })?;
        Ok(checked_images)
    }
}

fn record(image: Image) -> Result<ImageRecord, ClientError> {
    Ok(ImageRecord {
        name: image.name,
        target: convert::descriptor(field(image.target, "target")?)?,
        labels: image.labels,
        created: convert::time(image.created_at)?,
        updated: convert::time(image.updated_at)?,
    })
}

fn checked(image: CheckedMessage) -> Result<CheckedImage, ClientError> {
    let status = match image.status() {
        Message::Complete => Completeness::Complete,
        Message::Incomplete => Completeness::Incomplete,
        Message::Damaged => Completeness::Damaged,
        Message::Unavailable => Completeness::Unavailable,
    };
    let digests = |texts: Vec<String>| {
        let digests = texts.iter().map(|text| parsed(text, "digest"));
        digests.collect::<Result<Vec<Digest>, _>>()
    };
    Ok(CheckedImage {
        name: image.name,
        target: convert::descriptor(field(image.target, "target")?)?,
        status,
        required: digests(image.required)?,
        missing: digests(image.missing)?,
        damaged: digests(image.damaged)?,
        size: image.size,
        is_unpacked: image.is_unpacked,
    })
}
