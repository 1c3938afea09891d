//! The directory of a registry under `certs.d`: which one it is, and what is in it.

use std::io;
use std::path::{Path, PathBuf};

use super::HostsError;
use super::certificates::{Pair, Tls};
use super::file::{self, Entry};

/// The directory of registries that have none of their own.
const DEFAULT: &str = "_default";
const FILE: &str = "hosts.toml";

/// What a directory says.
#[derive(Debug)]
pub(super) enum Content {
    /// Certificates for the registry itself, as Docker has them.
    Certificates(Tls),
    /// Servers, in their order.
    Hosts(Vec<Entry>),
}

/// Returns the directory for a host, in the first of `roots` that has one.
pub(super) fn find(roots: &[PathBuf], host: &str) -> Result<Option<PathBuf>, HostsError> {
    for root in roots {
        for name in names(host) {
            let path = root.join(name);
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => return Ok(Some(path)),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(source) => return Err(HostsError::Read { path, source }),
            }
        }
    }
    Ok(None)
}

/// Reads a directory: `hosts.toml`, or where there is none, or an empty one, its
/// certificates.
pub(super) fn read(directory: &Path) -> Result<Content, HostsError> {
    let path = directory.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.is_empty() => Ok(Content::Hosts(file::parse(&path, &text)?)),
        Ok(_) => certificates(directory),
        Err(error) if is_absent(&error) => certificates(directory),
        Err(source) => Err(HostsError::Read { path, source }),
    }
}

/// Returns the names that a host's directory may have, best first. Not all file systems allow
/// colons in names.
fn names(host: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some((name, port)) = host.rsplit_once(':')
        && !port.contains(']')
    {
        names.push(format!("{name}_{port}_"));
    }
    names.extend([host.to_owned(), DEFAULT.to_owned()]);
    names
}

/// Reads what Docker keeps in such a directory: `*.crt` is trusted, `X.cert` with `X.key` is
/// shown.
fn certificates(directory: &Path) -> Result<Content, HostsError> {
    let failed = |source| HostsError::Read {
        path: directory.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let with_extension = |wanted: &str| {
        let is_wanted = |path: &&PathBuf| path.extension().is_some_and(|found| found == wanted);
        paths.iter().filter(is_wanted).cloned().collect::<Vec<_>>()
    };
    let pair = |certificate: PathBuf| {
        let key = Some(certificate.with_extension("key")).filter(|key| paths.contains(key));
        Pair { certificate, key }
    };
    let pairs: Vec<Pair> = with_extension("cert").into_iter().map(pair).collect();
    Ok(Content::Certificates(Tls::read(
        &with_extension("crt"),
        &pairs,
    )?))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
