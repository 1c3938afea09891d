//! Blobs.

use mica_proto::content::content_client::ContentClient;
use mica_proto::content::content_server::Content as _;
use mica_proto::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest, ListStatusesRequest,
    Status as IngestMessage, UpdateRequest,
};

use super::answer::{field, field_mask, parsed};
use super::{Client, ClientError, ask, follow};
use crate::api::convert;
use crate::content::IngestStatus;
use crate::meta::{ContentRecord, Labels};
use crate::oci::Digest;

impl Client {
    /// Lists the blobs that one of the filters matches.
    pub(crate) fn blobs(&self, filters: &[String]) -> Result<Vec<ContentRecord>, ClientError> {
        let filters = filters.to_vec();
        let list = ListContentRequest { filters };
        let mut blobs = Vec::new();
        follow!(self, content, ContentClient::list, list, |block| {
            for info in block.info {
                blobs.push(record(info)?);
            }
            Ok::<_, ClientError>(())
        })?;
        Ok(blobs)
    }

    /// Returns what is known of a blob.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<ContentRecord, ClientError> {
        let digest = digest.to_string();
        let answer = ask!(self, content, ContentClient::info, InfoRequest { digest })?;
        record(field(answer.info, "info")?)
    }

    /// Changes labels of a blob under a field mask.
    pub(crate) fn label_blob(
        &self,
        digest: &Digest,
        labels: &Labels,
        mask: &[&str],
    ) -> Result<ContentRecord, ClientError> {
        let update = UpdateRequest {
            info: Some(Info {
                digest: digest.to_string(),
                labels: labels.clone(),
                ..Info::default()
            }),
            update_mask: Some(field_mask(mask)),
        };
        let updated = ask!(self, content, ContentClient::update, update)?;
        record(field(updated.info, "info")?)
    }

    /// Removes the record of a blob.
    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<(), ClientError> {
        let digest = digest.to_string();
        let delete = DeleteContentRequest { digest };
        Ok(ask!(self, content, ContentClient::delete, delete)?)
    }

    /// Lists what is being written and one of the filters matches.
    pub(crate) fn ingests(&self, filters: &[String]) -> Result<Vec<IngestStatus>, ClientError> {
        let filters = filters.to_vec();
        let list = ListStatusesRequest { filters };
        let listed = ask!(self, content, ContentClient::list_statuses, list)?;
        listed.statuses.into_iter().map(ingest).collect()
    }

    /// Throws away what was begun under a reference.
    pub(crate) fn abort_ingest(&self, reference: &str) -> Result<(), ClientError> {
        let r#ref = reference.to_owned();
        Ok(ask!(
            self,
            content,
            ContentClient::abort,
            AbortRequest { r#ref }
        )?)
    }
}

fn record(info: Info) -> Result<ContentRecord, ClientError> {
    Ok(ContentRecord {
        digest: parsed(&info.digest, "digest")?,
        size: convert::unsigned(info.size, "size")?,
        labels: info.labels,
        created: convert::time(info.created_at)?,
        updated: convert::time(info.updated_at)?,
    })
}

fn ingest(status: IngestMessage) -> Result<IngestStatus, ClientError> {
    Ok(IngestStatus {
        reference: status.r#ref,
        expected: convert::optional_digest(&status.expected)?,
        total: convert::unsigned(status.total, "total")?,
        offset: convert::unsigned(status.offset, "offset")?,
        started: convert::time(status.started_at)?,
        updated: convert::time(status.updated_at)?,
    })
}
