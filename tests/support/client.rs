//! The snapshot service as a client calls it, with what all calls say filled in.

use std::collections::BTreeMap;

use mica::api::Way;
use mica_proto::prost_types::FieldMask;
use mica_proto::snapshots::snapshots_client::SnapshotsClient;
use mica_proto::snapshots::{
    CommitSnapshotRequest, Info, ListSnapshotsRequest, ListSnapshotsResponse, MountsRequest,
    PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest, UpdateSnapshotRequest,
    ViewSnapshotRequest,
};
use mica_proto::types::Mount;
use tonic::{Request, Status, Streaming};

/// The namespace of the tests.
pub(crate) const NAMESPACE: &str = "tests";

/// Calls with the snapshotter filled in.
pub(crate) struct Snapshots(SnapshotsClient<Way>);

fn mica() -> String {
    "mica".to_owned()
}

/// Returns labels.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// Returns a request in a namespace.
pub(crate) fn request_in<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let name = namespace.parse().unwrap();
    request.metadata_mut().insert("containerd-namespace", name);
    request
}

/// Returns a request in the namespace of the tests.
pub(crate) fn request<T>(message: T) -> Request<T> {
    request_in(NAMESPACE, message)
}

impl Snapshots {
    pub(crate) fn on(way: Way) -> Self {
        Self(SnapshotsClient::new(way))
    }

    pub(crate) async fn prepare(&mut self, key: &str, parent: &str) -> Result<Vec<Mount>, Status> {
        self.prepare_with(key, parent, &[]).await
    }

    pub(crate) async fn prepare_with(
        &mut self,
        key: &str,
        parent: &str,
        pairs: &[(&str, &str)],
    ) -> Result<Vec<Mount>, Status> {
        let prepare = PrepareSnapshotRequest {
            snapshotter: mica(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: labels(pairs),
        };
        Ok(self.0.prepare(request(prepare)).await?.into_inner().mounts)
    }

    pub(crate) async fn view(&mut self, key: &str, parent: &str) -> Result<Vec<Mount>, Status> {
        let view = ViewSnapshotRequest {
            snapshotter: mica(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: BTreeMap::new(),
        };
        Ok(self.0.view(request(view)).await?.into_inner().mounts)
    }

    pub(crate) async fn mounts(&mut self, key: &str) -> Result<Vec<Mount>, Status> {
        let (snapshotter, key) = (mica(), key.to_owned());
        let mounts = MountsRequest { snapshotter, key };
        Ok(self.0.mounts(request(mounts)).await?.into_inner().mounts)
    }

    pub(crate) async fn commit(&mut self, name: &str, key: &str) -> Result<(), Status> {
        let commit = CommitSnapshotRequest {
            snapshotter: mica(),
            name: name.to_owned(),
            key: key.to_owned(),
            ..CommitSnapshotRequest::default()
        };
        self.0.commit(request(commit)).await.map(drop)
    }

    pub(crate) async fn remove(&mut self, key: &str) -> Result<(), Status> {
        let (snapshotter, key) = (mica(), key.to_owned());
        let remove = RemoveSnapshotRequest { snapshotter, key };
        self.0.remove(request(remove)).await.map(drop)
    }

    pub(crate) async fn stat(&mut self, key: &str) -> Result<Info, Status> {
        let (snapshotter, key) = (mica(), key.to_owned());
        let stat = StatSnapshotRequest { snapshotter, key };
        Ok(self.0.stat(request(stat)).await?.into_inner().info.unwrap())
    }

    /// Changes what a mask names, to what is in a message.
    pub(crate) async fn update(&mut self, info: Info, mask: &[&str]) -> Result<Info, Status> {
        let paths = mask.iter().map(|path| (*path).to_owned()).collect();
        let update = UpdateSnapshotRequest {
            snapshotter: mica(),
            info: Some(info),
            update_mask: Some(FieldMask { paths }),
        };
        let updated = self.0.update(request(update)).await?;
        Ok(updated.into_inner().info.unwrap())
    }

    /// Begins to list all.
    pub(crate) async fn begin_list(&mut self) -> Result<Streaming<ListSnapshotsResponse>, Status> {
        let list = ListSnapshotsRequest {
            snapshotter: mica(),
            filters: Vec::new(),
        };
        Ok(self.0.list(request(list)).await?.into_inner())
    }

    pub(crate) async fn list(&mut self, filters: &[&str]) -> Result<Vec<Info>, Status> {
        let list = ListSnapshotsRequest {
            snapshotter: mica(),
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        };
        let mut blocks = self.0.list(request(list)).await?.into_inner();
        let mut infos = Vec::new();
        while let Some(block) = blocks.message().await? {
            infos.extend(block.info);
        }
        Ok(infos)
    }

    pub(crate) async fn names(&mut self, filters: &[&str]) -> Result<Vec<String>, Status> {
        let infos = self.list(filters).await?;
        Ok(infos.into_iter().map(|info| info.name).collect())
    }
}
