//! Snapshots.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use mica_proto::mica::mica_client::MicaClient;
use mica_proto::mica::mica_server::Mica as _;
use mica_proto::mica::snapshot_mounts_response::{Layer, Upper, Use};
use mica_proto::mica::{
    ListSnapshotsRequest, NewSnapshotRequest, Snapshot, SnapshotRequest, SnapshotUsageRequest,
    Usage as UsageMessage,
};
use mica_proto::snapshots::snapshots_client::SnapshotsClient;
use mica_proto::snapshots::snapshots_server::Snapshots as _;
use mica_proto::snapshots::{
    CommitSnapshotRequest, Info, Kind as KindMessage, RemoveSnapshotRequest, UpdateSnapshotRequest,
};

use super::answer::{field, field_mask, parsed};
use super::{Client, ClientError, ask, follow};
use crate::api::convert;
use crate::layers::LayerPlan;
use crate::meta::{Kind, Labels, SnapshotId, SnapshotRecord, Usage};
use crate::snapshots::{SNAPSHOTTER, SnapshotMounts, SnapshotUpper, SnapshotUse};

impl Client {
    /// Lists the snapshots that one of the filters matches.
    pub(crate) fn snapshots(&self, filters: &[String]) -> Result<Vec<SnapshotRecord>, ClientError> {
        let filters = filters.to_vec();
        let list = ListSnapshotsRequest { filters };
        let mut snapshots = Vec::new();
        follow!(self, mica, MicaClient::list_snapshots, list, |block| {
            for snapshot in block.snapshots {
                snapshots.push(record(snapshot)?);
            }
            Ok::<_, ClientError>(())
        })?;
        Ok(snapshots)
    }

    /// Returns a snapshot.
    pub(crate) fn snapshot(&self, key: &str) -> Result<SnapshotRecord, ClientError> {
        record(ask!(self, mica, MicaClient::stat_snapshot, named(key))?)
    }

    /// Makes an active snapshot, or a view, on a snapshot or an image.
    pub(crate) fn new_snapshot(
        &self,
        key: &str,
        parent: Option<&str>,
        is_view: bool,
        labels: Labels,
    ) -> Result<(), ClientError> {
        let new = NewSnapshotRequest {
            key: key.to_owned(),
            parent: parent.unwrap_or_default().to_owned(),
            is_view,
            labels,
        };
        Ok(ask!(self, mica, MicaClient::new_snapshot, new)?)
    }

    /// Makes an active snapshot a committed one.
    pub(crate) fn commit_snapshot(
        &self,
        name: &str,
        key: &str,
        labels: Labels,
    ) -> Result<(), ClientError> {
        let commit = CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
            labels,
            ..CommitSnapshotRequest::default()
        };
        Ok(ask!(self, snapshots, SnapshotsClient::commit, commit)?)
    }

    /// Removes a snapshot that no other stands on.
    pub(crate) fn remove_snapshot(&self, key: &str) -> Result<(), ClientError> {
        let remove = RemoveSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: key.to_owned(),
        };
        Ok(ask!(self, snapshots, SnapshotsClient::remove, remove)?)
    }

    /// Changes labels under a field mask.
    pub(crate) fn label_snapshot(
        &self,
        key: &str,
        labels: &Labels,
        mask: &[&str],
    ) -> Result<SnapshotRecord, ClientError> {
        let update = UpdateSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            info: Some(Info {
                name: key.to_owned(),
                labels: labels.clone(),
                ..Info::default()
            }),
            update_mask: Some(field_mask(mask)),
        };
        ask!(self, snapshots, SnapshotsClient::update, update)?;
        self.snapshot(key)
    }

    /// Returns what one snapshot takes, or what each does.
    pub(crate) fn snapshot_usage(
        &self,
        key: Option<&str>,
    ) -> Result<Vec<(String, Usage)>, ClientError> {
        let key = key.unwrap_or_default().to_owned();
        let asked = SnapshotUsageRequest { key };
        let mut all = Vec::new();
        follow!(self, mica, MicaClient::snapshot_usage, asked, |answer| {
            let taken = field(answer.usage, "usage")?;
            all.push((answer.name, usage(&taken)));
            Ok::<_, ClientError>(())
        })?;
        Ok(all)
    }

    /// Returns what a mount of a snapshot is made of.
    pub(crate) fn snapshot_mounts(&self, key: &str) -> Result<SnapshotMounts, ClientError> {
        let shown = ask!(self, mica, MicaClient::snapshot_mounts, named(key))?;
        let layers = shown.layers.into_iter().map(layer);
        let uses = shown.uses.into_iter().map(used);
        Ok(SnapshotMounts {
            layers: layers.collect::<Result<_, _>>()?,
            upper: shown.upper.map(upper).transpose()?,
            uses: uses.collect::<Result<_, _>>()?,
        })
    }
}

fn named(key: &str) -> SnapshotRequest {
    let key = key.to_owned();
    SnapshotRequest { key }
}

fn record(snapshot: Snapshot) -> Result<SnapshotRecord, ClientError> {
    let info = field(snapshot.info, "info")?;
    let kind = match info.kind() {
        KindMessage::View => Kind::View,
        KindMessage::Active => Kind::Active,
        KindMessage::Committed => Kind::Committed,
        KindMessage::Unknown => return Err(ClientError::Answer("kind")),
    };
    let layer = match snapshot.layer.as_str() {
        "" => None,
        text => Some(parsed(text, "layer")?),
    };
    Ok(SnapshotRecord {
        name: info.name,
        kind,
        parent: Some(info.parent).filter(|parent| !parent.is_empty()),
        layer,
        id: snapshot.directory.map(SnapshotId),
        usage: snapshot.usage.as_ref().map(usage),
        labels: info.labels,
        created: convert::time(info.created_at)?,
        updated: convert::time(info.updated_at)?,
    })
}

fn usage(message: &UsageMessage) -> Usage {
    Usage {
        size: message.size,
        inodes: message.inodes,
    }
}

fn layer(layer: Layer) -> Result<LayerPlan, ClientError> {
    match layer.packed.as_str() {
        "" => Ok(LayerPlan::Directory(path(layer.directory))),
        text => parsed(text, "layer").map(LayerPlan::Packed),
    }
}

fn upper(upper: Upper) -> Result<SnapshotUpper, ClientError> {
    Ok(SnapshotUpper {
        fs: path(upper.fs),
        work: path(upper.work),
        owner: used(field(upper.owner, "owner")?)?,
    })
}

fn used(message: Use) -> Result<SnapshotUse, ClientError> {
    Ok(SnapshotUse {
        namespace: parsed(&message.namespace, "namespace")?,
        name: message.name,
        id: SnapshotId(message.directory),
    })
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}
