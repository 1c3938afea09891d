//! Values of the library as fields of messages, and back.

use std::collections::HashMap;

use jiff::Timestamp;
use mica_proto::{prost_types, types};
use tonic::Status;

use super::status::{refused, status};
use crate::error_class::ErrorClass;
use crate::filter::Filter;
use crate::meta::Labels;
use crate::oci::{Descriptor, Digest};

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

pub(super) fn labels(labels: HashMap<String, String>) -> Labels {
    labels.into_iter().collect()
}

pub(super) fn label_map(labels: &Labels) -> HashMap<String, String> {
    labels.clone().into_iter().collect()
}

/// Returns the paths of a field mask; none stand for all fields.
pub(super) fn mask(mask: Option<prost_types::FieldMask>) -> Vec<String> {
    mask.map(|mask| mask.paths).unwrap_or_default()
}

/// Returns a filter, which without texts matches all.
pub(super) fn filter(texts: &[String]) -> Result<Filter, Status> {
    Filter::parse(texts).map_err(|error| status(&error))
}

pub(super) fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|error| status(&error))
}

/// Returns a digest that may be left out.
pub(super) fn optional_digest(text: &str) -> Result<Option<Digest>, Status> {
    match text {
        "" => Ok(None),
        text => digest(text).map(Some),
    }
}

/// Returns the name of something that the call must give.
pub(super) fn required<T>(value: Option<T>, what: &str) -> Result<T, Status> {
    value.ok_or_else(|| refused(ErrorClass::InvalidArgument, &format!("{what} is required")))
}

/// Returns a size as messages have it.
pub(super) fn size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Returns a size or an offset of a message, which cannot be negative.
pub(super) fn unsigned(value: i64, what: &str) -> Result<u64, Status> {
    u64::try_from(value).map_err(|_| {
        refused(
            ErrorClass::InvalidArgument,
            &format!("{what} {value} is negative"),
        )
    })
}

pub(super) fn descriptor_message(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.to_string(),
        digest: descriptor.digest.to_string(),
        size: size(descriptor.size),
        annotations: descriptor.annotations.clone().into_iter().collect(),
    }
}

pub(super) fn descriptor(message: types::Descriptor) -> Result<Descriptor, Status> {
    let mut descriptor = Descriptor::new(
        message.media_type.as_str(),
        digest(&message.digest)?,
        unsigned(message.size, "size")?,
    );
    descriptor.annotations = message.annotations.into_iter().collect();
    Ok(descriptor)
}
