//! Images by any of their names, and what there is of them.

use mica_proto::images::Image;
use mica_proto::mica::checked_image::Completeness as Message;
use mica_proto::mica::{
    CheckImagesRequest, CheckedImage, RemoveImageRequest, ResolveImageRequest, TagImageRequest,
};
use tonic::Status;

use super::super::call::{Answers, Call};
use super::super::convert;
use super::super::images::{message, of};
use super::super::status::status;
use crate::images::{self, Completeness};

pub(super) fn resolve(call: &Call, request: &ResolveImageRequest) -> Result<Image, Status> {
    let image = of(call).resolve(&request.image);
    image.map(message).map_err(|error| status(&error))
}

pub(super) fn tag(call: &Call, request: &TagImageRequest) -> Result<Image, Status> {
    let image = of(call).tag(&request.image, &request.name, request.force);
    image.map(message).map_err(|error| status(&error))
}

pub(super) fn remove(call: &Call, request: &RemoveImageRequest) -> Result<Image, Status> {
    let target = convert::optional_digest(&request.target)?;
    let image = of(call).remove(&request.image, target.as_ref());
    image.map(message).map_err(|error| status(&error))
}

pub(super) fn check(
    call: &Call,
    request: &CheckImagesRequest,
) -> Result<Answers<CheckedImage>, Status> {
    let filter = convert::filter(&request.filters)?;
    let checked = images::check(&call.store, &call.namespace, &filter);
    let checked = checked.map_err(|error| status(&error))?;
    let messages = checked.into_iter().map(|image| Ok(checked_message(&image)));
    Ok(Box::pin(tokio_stream::iter(messages)))
}

fn checked_message(image: &images::CheckedImage) -> CheckedImage {
    let status = match image.status {
        Completeness::Complete => Message::Complete,
        Completeness::Incomplete => Message::Incomplete,
        Completeness::Damaged => Message::Damaged,
        Completeness::Unavailable => Message::Unavailable,
    };
    let texts = |digests: &[crate::oci::Digest]| digests.iter().map(ToString::to_string).collect();
    CheckedImage {
        name: image.name.clone(),
        target: Some(convert::descriptor_message(&image.target)),
        status: status.into(),
        required: texts(&image.required),
        missing: texts(&image.missing),
        damaged: texts(&image.damaged),
        size: image.size,
        is_unpacked: image.is_unpacked,
    }
}
