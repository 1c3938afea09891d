//! Certificates that are trusted and shown, read from files of PEM text.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use super::HostsError;

/// How TLS is spoken with a host.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tls {
    /// What is trusted besides the system's roots.
    pub(in super::super) ca: Vec<Certificate>,
    /// What the host is shown.
    pub(in super::super) identity: Option<Identity>,
    /// Whether any certificate will do.
    pub(in super::super) skip_verify: bool,
}

/// The files of a client certificate; one file may hold both parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: Option<PathBuf>,
}

impl Tls {
    /// Reads the files. Of several client certificates the first is shown.
    pub(super) fn read(ca: &[PathBuf], clients: &[Pair]) -> Result<Self, HostsError> {
        let mut trusted = Vec::new();
        for path in ca {
            trusted.extend(certificates(path)?);
        }
        Ok(Self {
            ca: trusted,
            identity: clients.first().map(Pair::read).transpose()?,
            skip_verify: false,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ca.is_empty() && self.identity.is_none()
    }
}

impl Pair {
    fn read(&self) -> Result<Identity, HostsError> {
        let mut pem = read(&self.certificate)?;
        if let Some(key) = &self.key {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        Identity::from_pem(&pem).map_err(|source| HostsError::Identity {
            path: self.certificate.clone(),
            source,
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, HostsError> {
    let bad = |source| HostsError::Certificate {
        path: path.to_owned(),
        source,
    };
    let found = Certificate::from_pem_bundle(&read(path)?).map_err(|source| bad(Some(source)))?;
    if found.is_empty() {
        return Err(bad(None));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, HostsError> {
    std::fs::read(path).map_err(|source| HostsError::Read {
        path: path.to_owned(),
        source,
    })
}
