//! Which images a filter matches.

use std::borrow::Cow;

use super::{ImageError, Images};
use crate::filter::{self, Fields, Filter};
use crate::meta::ImageRecord;

impl Images {
    /// Lists the images that a filter matches, sorted by name.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<ImageRecord>, ImageError> {
        let mut images = self.list()?;
        images.retain(|image| filter.matches(image));
        Ok(images)
    }
}

impl Fields for ImageRecord {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some(self.name.as_str().into()),
            ["target", "digest", ..] => Some(self.target.digest.to_string().into()),
            ["target", "mediatype", ..] => Some(self.target.media_type.as_str().into()),
            ["labels", key @ ..] => filter::label(&self.labels, key),
            ["annotations", key @ ..] => filter::label(&self.target.annotations, key),
            _ => None,
        }
    }
}
