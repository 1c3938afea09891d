//! What of a blob's record a filter can ask for.

use std::borrow::Cow;

use crate::filter::{self, Fields};
use crate::meta::ContentRecord;

impl Fields for ContentRecord {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["digest", ..] => Some(self.digest.to_string().into()),
            ["labels", key @ ..] => filter::label(&self.labels, key),
            _ => None,
        }
    }
}
