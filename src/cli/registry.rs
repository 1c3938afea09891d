//! How commands that talk to registries are told to.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::registry::{Credentials, Options, Secret, Timeouts, default_hosts_dirs};

/// Options of commands that talk to a registry.
#[derive(Debug, Args)]
pub(super) struct RegistryArguments {
    /// User and password for the registry
    #[arg(short, long, value_name = "USER:PASSWORD")]
    user: Option<Credentials>,
    /// Identity token for the registry, which is exchanged for access tokens
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    refresh: Option<String>,
    /// Directory of registries, each with a `hosts.toml` or certificates; may be given again
    /// [default: /etc/containerd/certs.d and /etc/docker/certs.d, or the same in ~/.config]
    #[arg(long, value_name = "DIR")]
    hosts_dir: Vec<PathBuf>,
    /// Talk to the registry without TLS
    #[arg(long)]
    plain_http: bool,
    /// Take any certificate, and do without TLS where the registry has none
    #[arg(long)]
    insecure_registry: bool,
    /// Connect again when no byte has come for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

impl RegistryArguments {
    pub(super) fn options(&self) -> Options {
        let identity = self.refresh.as_deref().map(Secret::new);
        let hosts_dirs = if self.hosts_dir.is_empty() {
            default_hosts_dirs()
        } else {
            self.hosts_dir.clone()
        };
        Options {
            plain_http: self.plain_http,
            insecure: self.insecure_registry,
            hosts_dirs,
            credentials: self
                .user
                .clone()
                .or(identity.map(Credentials::IdentityToken)),
            timeouts: Timeouts {
                stall: Duration::from_secs(self.stall_timeout),
                ..Timeouts::default()
            },
            ..Options::default()
        }
    }
}
