//! Values of the library as fields of messages, and back.

use jiff::Timestamp;
use mica_proto::{prost_types, types};
use tonic::Status;

use super::status::{refused, status};
use crate::error_class::ErrorClass;
use crate::filter::Filter;
use crate::oci::{Descriptor, Digest};

pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// Returns the time of a message.
pub(crate) fn time(time: Option<prost_types::Timestamp>) -> Result<Timestamp, Status> {
    let time = required(time, "time")?;
    Timestamp::new(time.seconds, time.nanos).map_err(|error| {
        let message = format!("time {}: {error}", time.seconds);
        refused(ErrorClass::InvalidArgument, &message)
    })
}

/// Returns the paths of a field mask; none stand for all fields.
pub(crate) fn mask(mask: Option<prost_types::FieldMask>) -> Vec<String> {
    mask.map(|mask| mask.paths).unwrap_or_default()
}

/// Returns a filter, which without texts matches all.
pub(crate) fn filter(texts: &[String]) -> Result<Filter, Status> {
    Filter::parse(texts).map_err(|error| status(&error))
}

pub(crate) fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|error| status(&error))
}

/// Returns a digest that may be left out.
pub(crate) fn optional_digest(text: &str) -> Result<Option<Digest>, Status> {
    match text {
        "" => Ok(None),
        text => digest(text).map(Some),
    }
}

/// Returns the name of something that the call must give.
pub(crate) fn required<T>(value: Option<T>, what: &str) -> Result<T, Status> {
    value.ok_or_else(|| refused(ErrorClass::InvalidArgument, &format!("{what} is required")))
}

/// Returns a size as messages have it.
pub(crate) fn size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Returns a size or an offset of a message, which cannot be negative.
pub(crate) fn unsigned(value: i64, what: &str) -> Result<u64, Status> {
    u64::try_from(value).map_err(|_| {
        refused(
            ErrorClass::InvalidArgument,
            &format!("{what} {value} is negative"),
        )
    })
}

pub(crate) fn descriptor_message(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.to_string(),
        digest: descriptor.digest.to_string(),
        size: size(descriptor.size),
        annotations: descriptor.annotations.clone().into_iter().collect(),
    }
}

pub(crate) fn descriptor(message: types::Descriptor) -> Result<Descriptor, Status> {
    let mut descriptor = Descriptor::new(
        message.media_type.as_str(),
        digest(&message.digest)?,
        unsigned(message.size, "size")?,
    );
    descriptor.annotations = message.annotations.into_iter().collect();
    Ok(descriptor)
}
