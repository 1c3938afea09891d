//! Which servers are asked for the repositories of a registry, and how each is reached.
//!
//! Without a configuration that is the registry itself. A directory of the registry's name (as
//! containerd and Docker have them under `certs.d`) can put mirrors before it, or say which
//! certificates to trust and to show; see [`file`] for its form. A broken configuration is an
//! error and never a reason to go on without it.
//!
//! A registry on the loopback interface is spoken to without TLS, and with TLS of any
//! certificate where it turns out to want that; the ports 80 and 443 say which it is.

mod certificates;
mod directory;
mod error;
mod file;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;

use super::redirect::host_of;
use super::transport::is_loopback;
use crate::oci::Reference;

pub(super) use certificates::Tls;
pub use error::HostsError;

/// What a server may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) pull: bool,
    pub(super) resolve: bool,
    pub(super) push: bool,
}

/// One thing that a server may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capability {
    /// What a digest names.
    Pull,
    /// What a tag names.
    Resolve,
    /// To take blobs and manifests.
    Push,
}

/// A server, and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// The root of its API, `scheme://host[:port]/v2`, without a slash at the end.
    pub(super) base: Url,
    /// The same with the other scheme, where it is not known which of both the server speaks.
    pub(super) other: Option<Url>,
    /// Whether this is the registry of the reference itself, rather than a mirror.
    pub(super) is_registry: bool,
    pub(super) capabilities: Capabilities,
    pub(super) tls: Tls,
    /// What every request to it carries.
    pub(super) headers: HeaderMap,
    /// How long to wait for a connection, if it is not the usual time.
    pub(super) connect: Option<Duration>,
}

/// What the user has said of all registries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits<'a> {
    /// Directories of directories that are named after registries.
    pub(super) directories: &'a [PathBuf],
    /// Never use TLS with the registry itself.
    pub(super) plain_http: bool,
    /// Take any certificate, and do without TLS where there is none.
    pub(super) insecure: bool,
}

impl Capabilities {
    pub(super) const ALL: Self = Self {
        pull: true,
        resolve: true,
        push: true,
    };

    pub(super) fn allow(self, capability: Capability) -> bool {
        match capability {
            Capability::Pull => self.pull,
            Capability::Resolve => self.resolve,
            Capability::Push => self.push,
        }
    }
}

/// Returns where mica looks for directories of registries unless it is told: where
/// containerd and Docker have theirs, or for an ordinary user, where nerdctl has them.
pub fn default_hosts_dirs() -> Vec<PathBuf> {
    let roots = if rustix::process::geteuid().is_root() {
        Some(PathBuf::from("/etc"))
    } else {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
    };
    let names = ["containerd/certs.d", "docker/certs.d"];
    roots
        .iter()
        .flat_map(|root| names.map(|name| root.join(name)))
        .collect()
}

/// Returns the servers to ask for what `reference` names, in their order.
pub(super) fn resolve(reference: &Reference, habits: Habits<'_>) -> Result<Vec<Host>, HostsError> {
    let registry = registry(reference, habits)?;
    let found = directory::find(habits.directories, reference.host())?;
    let Some(directory) = found else {
        return Ok(vec![registry]);
    };
    let mut hosts = match directory::read(&directory)? {
        directory::Content::Certificates(tls) => vec![with_tls(registry, tls)],
        directory::Content::Hosts(hosts) => {
            let own = |host| file::host(host, &registry);
            hosts.into_iter().map(own).collect::<Result<_, _>>()?
        }
    };
    for host in &mut hosts {
        host.is_registry = is_same(&host.base, reference.registry());
    }
    Ok(hosts)
}

/// Returns the registry of a reference, as it is reached without a configuration.
fn registry(reference: &Reference, habits: Habits<'_>) -> Result<Host, HostsError> {
    let registry = reference.registry();
    let at = |scheme: &str| {
        let url = format!("{scheme}://{registry}/v2");
        url.parse::<Url>()
            .map_err(|_| HostsError::Host(registry.to_owned()))
    };
    let (secure, plain) = (at("https")?, at("http")?);
    let is_local = is_loopback(secure.host_str().unwrap_or_default());
    let (base, other) = match (is_local, registry.rsplit_once(':')) {
        _ if habits.plain_http => (plain, None),
        (true, Some((_, "80"))) => (plain, None),
        (true, Some((_, "443"))) => (secure, None),
        (true, _) => (plain, Some(secure)),
        (false, _) if habits.insecure => (secure, Some(plain)),
        (false, _) => (secure, None),
    };
    Ok(Host {
        base,
        other,
        is_registry: true,
        capabilities: Capabilities::ALL,
        tls: Tls {
            skip_verify: is_local || habits.insecure,
            ..Tls::default()
        },
        headers: HeaderMap::new(),
        connect: None,
    })
}

/// Returns a host that is reached with these certificates, and so with TLS that is checked.
fn with_tls(host: Host, tls: Tls) -> Host {
    if tls.is_empty() {
        return host;
    }
    let (base, other) = match host.other {
        Some(secure) if secure.scheme() == "https" => (secure, None),
        other => (host.base, other),
    };
    let skip_verify = host.tls.skip_verify && tls.ca.is_empty();
    Host {
        base,
        other,
        tls: Tls { skip_verify, ..tls },
        ..host
    }
}

/// Says whether a URL is at the host, with or without port, of a reference.
fn is_same(url: &Url, host: &str) -> bool {
    let name = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default();
    host_of(url) == host || port.is_some_and(|port| format!("{name}:{port}") == host)
}

#[cfg(test)]
mod tests;
