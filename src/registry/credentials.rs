//! Who the user is, for a registry: from the command line, from Docker's and podman's files, or
//! from a credential helper.

mod config_file;
mod external;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use self::config_file::{ConfigFile, Entry};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns a secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to send it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a registry or its token service is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A long-lived token that the token service exchanges for access tokens.
    IdentityToken(Secret),
    /// An access token for the registry itself.
    AccessToken(Secret),
}

impl FromStr for Credentials {
    type Err = CredentialsError;

    /// Reads `name:password`.
    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => Ok(Self::Password {
                user: user.to_owned(),
                password: Secret::new(password),
            }),
            _ => Err(CredentialsError::NoPassword),
        }
    }
}

/// Why credentials cannot be read.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A name was given without a password.
    #[error("name and password are not written as name:password")]
    NoPassword,
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not what Docker writes.
    #[error("{path:?} is not a valid Docker config")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where the reader stopped.
        source: serde_json::Error,
    },
    /// The entry for the registry in a file is not base64 of name and password.
    #[error("{path:?} has no proper name and password for {key}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The key of the entry.
        key: String,
    },
    /// The name of a helper is not one word.
    #[error("{0:?} is not the name of a credential helper")]
    HelperName(String),
    /// A credential helper cannot be run.
    #[error("cannot run {program}")]
    Helper {
        /// The program.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A credential helper failed.
    #[error("{program} failed: {message}")]
    HelperFailed {
        /// The program.
        program: String,
        /// What it said, or how it ended.
        message: String,
    },
    /// A credential helper does not end.
    #[error("{program} did not end in {seconds} s")]
    HelperTimedOut {
        /// The program.
        program: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// A credential helper's answer is not JSON of the right form, or too long.
    #[error("{program} gave no proper answer")]
    HelperAnswer {
        /// The program.
        program: String,
    },
}

/// Looks up what the user's files have for a repository, `host/path`; the first file that has
/// something decides.
pub(super) async fn look_up(repository: &str) -> Result<Credentials, CredentialsError> {
    for path in config_paths(|name| std::env::var_os(name).map(PathBuf::from)) {
        let Some(file) = ConfigFile::read(&path)? else {
            continue;
        };
        let credentials = match file.find(repository)? {
            Entry::Nothing => continue,
            Entry::Credentials(credentials) => credentials,
            Entry::Helper { suffix, server } => external::run(&suffix, &server).await?,
        };
        if credentials != Credentials::Anonymous {
            return Ok(credentials);
        }
    }
    Ok(Credentials::Anonymous)
}

/// Returns the files that may hold credentials, in their order.
fn config_paths(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
    let docker = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
    let podman = set("XDG_RUNTIME_DIR").map(|run| run.join("containers/auth.json"));
    docker
        .map(|directory| directory.join("config.json"))
        .into_iter()
        .chain(podman)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let credentials: Credentials = "me:hunter2:x".parse().unwrap();
        let Credentials::Password { user, password } = &credentials else {
            panic!()
        };
        assert_eq!((user.as_str(), password.reveal()), ("me", "hunter2:x"));
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert!("me".parse::<Credentials>().is_err());
        assert!(":x".parse::<Credentials>().is_err());
    }

    #[test]
    fn files() {
        let paths = |set: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| PathBuf::from(value))
            };
            config_paths(value)
        };
        assert_eq!(
            paths(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u")]),
            [
                PathBuf::from("/h/.docker/config.json"),
                "/run/u/containers/auth.json".into()
            ]
        );
        assert_eq!(
            paths(&[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("XDG_RUNTIME_DIR", "")
            ]),
            [PathBuf::from("/d/config.json")]
        );
        assert!(paths(&[]).is_empty());
    }
}
