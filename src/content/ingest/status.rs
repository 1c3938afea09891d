//! What is known of something that is being written: for people, and for the next writer.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::{ContentError, entries, failed};
use super::Request;
use crate::filter::Fields;
use crate::meta::Namespace;
use crate::oci::{Descriptor, Digest, Kind};

/// What is known of a blob that was begun and not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IngestStatus {
    /// The name under which it is taken up again.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The digest that the bytes are to have, if that was said.
    pub expected: Option<Digest>,
    /// The bytes that there are to be; zero when that was not said.
    pub total: u64,
    /// How many bytes are there.
    pub offset: u64,
    /// When it was begun.
    pub started: Timestamp,
    /// When the last bytes came.
    pub updated: Timestamp,
}

/// The file `info` of an ingest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Info {
    /// Empty for what all namespaces share.
    #[serde(default)]
    pub(crate) namespace: String,
    pub(crate) reference: String,
    pub(super) expected: Option<Digest>,
    pub(super) total: u64,
    pub(super) started: Timestamp,
}

impl Info {
    /// Returns what a directory says, or `None` when it says nothing.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, ContentError> {
        let path = directory.join("info");
        match fs::read(&path) {
            // Not synced when it was written, so a crash may have left anything.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Writes the file, which only informs: it is not synced.
    pub(super) fn write(&self, directory: &Path) -> Result<(), ContentError> {
        let path = directory.join("info");
        let json = serde_json::to_vec(self);
        let json = json.map_err(|error| failed("encode", &path)(error.into()))?;
        fs::write(&path, json).map_err(failed("write", &path))
    }

    /// Says whether bytes that were written for this are what a request goes on with.
    pub(super) fn fits(&self, request: &Request) -> bool {
        let is_other = |known: u64, wanted: u64| known > 0 && wanted > 0 && known != wanted;
        self.reference == request.reference && !is_other(self.total, request.total)
    }

    /// Returns the status, with what the data's file says.
    pub(super) fn status(self, data: &fs::Metadata) -> IngestStatus {
        let modified = data.modified().ok();
        let updated = modified.and_then(|time| Timestamp::try_from(time).ok());
        IngestStatus {
            reference: self.reference,
            expected: self.expected,
            total: self.total,
            offset: data.len(),
            started: self.started,
            updated: updated.unwrap_or(self.started),
        }
    }
}

impl Fields for IngestStatus {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["ref", ..] => Some(self.reference.as_str().into()),
            _ => None,
        }
    }
}

/// Returns the reference under which containerd fetches a blob.
pub(super) fn reference_of(descriptor: &Descriptor) -> String {
    let kind = match descriptor.media_type.kind() {
        Kind::Index => "index",
        Kind::Manifest => "manifest",
        Kind::Config => "config",
        Kind::Layer(_) => "layer",
        Kind::Schema1 | Kind::Unknown => "unknown",
    };
    format!("{kind}-{}", descriptor.digest)
}

/// Lists what is being written in a namespace, and what pulls write for all.
pub(crate) fn list(
    ingests: &Path,
    namespace: &Namespace,
) -> Result<Vec<IngestStatus>, ContentError> {
    let mut found = Vec::new();
    for id in entries(ingests)? {
        let directory = ingests.join(id);
        if let Some((owner, status)) = read(&directory)?
            && (owner.is_empty() || owner == namespace.as_str())
        {
            found.push(status);
        }
    }
    found.sort_by(|a, b| a.reference.cmp(&b.reference));
    Ok(found)
}

/// Returns the namespace and the status of an ingest, unless it has just ended or begun.
pub(super) fn read(directory: &Path) -> Result<Option<(String, IngestStatus)>, ContentError> {
    let Some(info) = Info::read(directory)? else {
        return Ok(None);
    };
    let data = directory.join("data");
    match fs::metadata(&data) {
        Ok(metadata) => Ok(Some((info.namespace.clone(), info.status(&metadata)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("stat", &data)(error)),
    }
}

/// Lists the names of all directories, with the references that they tell.
pub(crate) fn directories(ingests: &Path) -> Result<Vec<(String, Option<String>)>, ContentError> {
    let mut found = Vec::new();
    for id in entries(ingests)? {
        let info = Info::read(&ingests.join(&id))?;
        found.push((id, info.map(|info| info.reference)));
    }
    Ok(found)
}
