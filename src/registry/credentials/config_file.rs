//! Docker's `config.json`, and podman's `auth.json`, which has the same form.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credentials, CredentialsError, Secret};

/// The key under which Docker keeps what it knows of Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";

/// A file with credentials, or with the names of helpers that have them.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    content: Content,
}

/// What a file has for a repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Nothing,
    Credentials(Credentials),
    /// Ask `docker-credential-<suffix>` for `server`.
    Helper {
        suffix: String,
        server: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    auths: BTreeMap<String, Auth>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(rename = "auth")]
    pair: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth([redacted])")
    }
}

impl ConfigFile {
    /// Reads a file; nothing when there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CredentialsError> {
        match std::fs::read(path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CredentialsError::File {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn parse(path: &Path, text: &[u8]) -> Result<Self, CredentialsError> {
        let content = serde_json::from_slice(text).map_err(|source| CredentialsError::Json {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            content,
        })
    }

    /// Returns what there is for a repository: a helper for its host before the store for all
    /// hosts before an entry in the file, the longest matching key first.
    pub(super) fn find(&self, repository: &str) -> Result<Entry, CredentialsError> {
        let host = repository
            .split_once('/')
            .map_or(repository, |(host, _)| host);
        let server = if host == HUB { HUB_KEY } else { host }.to_owned();
        let is_host = |(key, _): &(&String, &String)| normal_key(key) == host;
        if let Some((_, suffix)) = self.content.cred_helpers.iter().find(is_host) {
            return Ok(Entry::Helper {
                suffix: suffix.clone(),
                server,
            });
        }
        let matching = self
            .content
            .auths
            .iter()
            .filter(|(key, auth)| !auth.is_empty() && is_prefix(normal_key(key), repository));
        if let Some((key, auth)) = matching.max_by_key(|(key, _)| normal_key(key).len()) {
            let credentials = auth.credentials().ok_or_else(|| CredentialsError::Entry {
                path: self.path.clone(),
                key: key.clone(),
            })?;
            return Ok(Entry::Credentials(credentials));
        }
        match self.content.creds_store.as_str() {
            "" => Ok(Entry::Nothing),
            suffix => Ok(Entry::Helper {
                suffix: suffix.to_owned(),
                server,
            }),
        }
    }
}

impl Auth {
    /// Says whether this only marks that a store has the credentials.
    fn is_empty(&self) -> bool {
        let Self {
            pair,
            username,
            password,
            identitytoken,
            registrytoken,
        } = self;
        [pair, username, password, identitytoken, registrytoken]
            .iter()
            .all(|text| text.is_empty())
    }

    fn credentials(&self) -> Option<Credentials> {
        if !self.registrytoken.is_empty() {
            return Some(Credentials::AccessToken(Secret::new(&self.registrytoken)));
        }
        if !self.identitytoken.is_empty() {
            return Some(Credentials::IdentityToken(Secret::new(&self.identitytoken)));
        }
        if self.pair.is_empty() {
            let password = Secret::new(&self.password);
            return Some(Credentials::Password {
                user: self.username.clone(),
                password,
            });
        }
        let text = String::from_utf8(STANDARD.decode(self.pair.trim()).ok()?).ok()?;
        text.trim_end_matches('\0').parse().ok()
    }
}

/// Returns the host, or host and path, that a key stands for.
fn normal_key(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or(key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or(key.strip_suffix("/v2"))
        .unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        other => other,
    }
}

fn is_prefix(key: &str, repository: &str) -> bool {
    repository
        .strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, repository: &str) -> Result<Entry, CredentialsError> {
        ConfigFile::parse(Path::new("/c.json"), text.as_bytes())?.find(repository)
    }

    fn password(user: &str, password: &str) -> Entry {
        let password = Secret::new(password);
        Entry::Credentials(Credentials::Password {
            user: user.to_owned(),
            password,
        })
    }

    fn helper(suffix: &str, server: &str) -> Entry {
        Entry::Helper {
            suffix: suffix.to_owned(),
            server: server.to_owned(),
        }
    }

    #[test]
    fn entries() {
        let auths = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"aHViOnBhc3M="},
            "h.io":{"auth":"aG9zdDpwYXNz"},
            "h.io/team":{"username":"team","password":"x:y"},
            "https://t.io/v2/":{"auth":"aG9zdDpwYXNz","identitytoken":"id"},
            "r.io":{"registrytoken":"access"},
            "e.io":{}},"unknown":[1]}"#;
        let helpers = r#"{"auths":{"s.io":{}},"credsStore":"desktop",
            "credHelpers":{"gcr.io":"gcloud","docker.io":"hub"}}"#;
        let identity = Entry::Credentials(Credentials::IdentityToken(Secret::new("id")));
        let access = Entry::Credentials(Credentials::AccessToken(Secret::new("access")));
        let cases = [
            (
                "Docker Hub",
                auths,
                "docker.io/library/alpine",
                password("hub", "pass"),
            ),
            ("a host", auths, "h.io/a", password("host", "pass")),
            (
                "the longest key",
                auths,
                "h.io/team/a",
                password("team", "x:y"),
            ),
            (
                "no part of a name",
                auths,
                "h.io/teams/a",
                password("host", "pass"),
            ),
            ("another port", auths, "h.io:5000/a", Entry::Nothing),
            ("another host", auths, "xh.io/a", Entry::Nothing),
            ("identity token", auths, "t.io/a", identity),
            ("access token", auths, "r.io/a", access),
            ("empty entry", auths, "e.io/a", Entry::Nothing),
            (
                "helper for a host",
                helpers,
                "gcr.io/a",
                helper("gcloud", "gcr.io"),
            ),
            (
                "helper for the hub",
                helpers,
                "docker.io/a/b",
                helper("hub", HUB_KEY),
            ),
            ("store", helpers, "s.io/a", helper("desktop", "s.io")),
            ("no entries", "{}", "h.io/a", Entry::Nothing),
        ];
        for (why, text, repository, expected) in cases {
            assert_eq!(find(text, repository).unwrap(), expected, "{why}");
        }
    }

    #[test]
    fn bad_files_are_errors_that_show_no_secret() {
        let cases = [
            ("cut", r#"{"auths":{"#),
            ("not base64", r#"{"auths":{"h.io":{"auth":"secret!"}}}"#),
            ("no colon", r#"{"auths":{"h.io":{"auth":"c2VjcmV0"}}}"#),
        ];
        for (why, text) in cases {
            let error = find(text, "h.io/a").unwrap_err();
            assert!(error.to_string().contains("/c.json"), "{why}: {error}");
            assert!(!format!("{error:?}").contains("c2Vj"), "{why}");
            assert!(!format!("{error:?}").contains("secret"), "{why}");
        }
        let file = ConfigFile::parse(
            Path::new("/c"),
            br#"{"auths":{"h.io":{"username":"u","password":"hunter2"}}}"#,
        );
        assert!(!format!("{file:?}").contains("hunter2"));
    }
}
