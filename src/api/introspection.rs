//! What the server is and has.

use mica_proto::introspection::introspection_server::Introspection;
use mica_proto::introspection::{
    Plugin, PluginInfoRequest, PluginInfoResponse, PluginsRequest, PluginsResponse, ServerResponse,
};
use mica_proto::types::Platform;
use tonic::{Request, Response, Status};

use super::convert;
use super::status::refused;
use crate::error_class::ErrorClass;
use crate::filter::Fields;
use crate::oci;
use crate::snapshots::SNAPSHOTTER;

/// What tells one server from others.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The same for all servers of a store.
    pub uuid: String,
}

/// Tells what the server is and has.
#[derive(Debug)]
pub(super) struct Service {
    identity: Identity,
}

/// A plugin, as filters see it.
struct Filtered<'p>(&'p Plugin);

impl Service {
    pub(super) fn new(identity: Identity) -> Self {
        Self { identity }
    }
}

#[tonic::async_trait]
impl Introspection for Service {
    async fn plugins(
        &self,
        request: Request<PluginsRequest>,
    ) -> Result<Response<PluginsResponse>, Status> {
        let filter = convert::filter(&request.into_inner().filters)?;
        let mut plugins = plugins();
        plugins.retain(|plugin| filter.matches(&Filtered(plugin)));
        Ok(Response::new(PluginsResponse { plugins }))
    }

    async fn server(&self, _request: Request<()>) -> Result<Response<ServerResponse>, Status> {
        Ok(Response::new(ServerResponse {
            uuid: self.identity.uuid.clone(),
            pid: u64::from(std::process::id()),
            pidns: pid_namespace(),
            deprecations: Vec::new(),
        }))
    }

    async fn plugin_info(
        &self,
        request: Request<PluginInfoRequest>,
    ) -> Result<Response<PluginInfoResponse>, Status> {
        let wanted = request.into_inner();
        let found = plugins()
            .into_iter()
            .find(|plugin| plugin.r#type == wanted.r#type && plugin.id == wanted.id);
        let message = format!("plugin {}.{}", wanted.r#type, wanted.id);
        Ok(Response::new(PluginInfoResponse {
            plugin: Some(found.ok_or_else(|| refused(ErrorClass::NotFound, &message))?),
            extra: None,
        }))
    }
}

impl Fields for Filtered<'_> {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["type"] => Some(self.0.r#type.as_str().into()),
            ["id"] => Some(self.0.id.as_str().into()),
            _ => None,
        }
    }
}

/// Returns the services in containerd's terms.
fn plugins() -> Vec<Plugin> {
    let host = oci::Platform::host();
    let platform = Platform {
        os: host.os,
        architecture: host.architecture,
        variant: host.variant,
        ..Platform::default()
    };
    let grpc = [
        "content",
        "diff",
        "events",
        "images",
        "introspection",
        "leases",
        "namespaces",
        "snapshots",
        "streaming",
        "transfer",
        "version",
    ];
    let services = grpc.map(|id| ("io.containerd.grpc.v1", id));
    let stores = [
        ("io.containerd.content.v1", "content"),
        ("io.containerd.snapshotter.v1", SNAPSHOTTER),
    ];
    let plugin = |(kind, id): (&str, &str)| Plugin {
        r#type: kind.to_owned(),
        id: id.to_owned(),
        platforms: vec![platform.clone()],
        ..Plugin::default()
    };
    stores.into_iter().chain(services).map(plugin).collect()
}

/// Returns the number of this process's PID namespace; zero without procfs.
fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}
