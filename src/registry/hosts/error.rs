//! Why the servers of a registry are not known.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A configuration of hosts cannot be used.
#[derive(Debug, Error)]
pub enum HostsError {
    /// The host in a reference can be no host.
    #[error("{0:?} is not a host")]
    Host(String),
    /// A file or directory cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not TOML.
    #[error("{} is not valid TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where the reader stopped.
        source: Box<toml::de::Error>,
    },
    /// A section of a file has a key with a value of the wrong kind.
    #[error("{section} in {} is not valid", path.display())]
    Section {
        /// The file.
        path: PathBuf,
        /// The section, as it is written.
        section: String,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{key} = {value:?} of {section} in {} {fault}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The section, as it is written.
        section: String,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it, as the end of a sentence.
        fault: &'static str,
    },
    /// A file of certificates holds none, or none that can be used.
    #[error("{} holds no certificate that can be used", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong, where the reader says so.
        source: Option<reqwest::Error>,
    },
    /// A client certificate and its key cannot be used together.
    #[error("{} is not a client certificate with its key", path.display())]
    Identity {
        /// The file of the certificate.
        path: PathBuf,
        /// What is wrong.
        source: reqwest::Error,
    },
}
