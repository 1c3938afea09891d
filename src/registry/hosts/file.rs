//! `hosts.toml`, as containerd reads it ("Registry Configuration" in its documentation).
//!
//! ```toml
//! server = "https://registry.example"       # asked last; default: the registry itself
//!
//! [host."https://mirror.example:5000"]      # asked first, in the order of the file
//!   capabilities = ["pull", "resolve"]      # default: all, with "push"
//!   ca = "ca.pem"                           # one file or a list; relative to the directory
//!   client = [["client.cert", "client.key"]]
//!   skip_verify = false
//!   override_path = false                   # true: the URL's path is taken as it is
//!   dial_timeout = "5s"
//!   [host."https://mirror.example:5000".header]
//!     x-team = "storage"
//! ```
//! Keys of a host at the top of the file are those of the server. Unknown keys mean nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use toml::{Table, Value};

use super::certificates::{Pair, Tls};
use super::{Capabilities, Host, HostsError};

/// One server as a file describes it.
#[derive(Debug)]
pub(super) struct Entry {
    origin: Origin,
    /// Where it is; the registry itself where the file does not say.
    server: Option<String>,
    section: Section,
}

/// Where an entry stands, for messages and relative paths.
#[derive(Clone, Debug)]
struct Origin {
    path: PathBuf,
    section: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Section {
    capabilities: Vec<String>,
    ca: OneOrMany<PathBuf>,
    client: Clients,
    skip_verify: Option<bool>,
    header: BTreeMap<String, OneOrMany<String>>,
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a file, a list of files, or a list of pairs of files"
)]
enum Clients {
    One(PathBuf),
    Many(Vec<Client>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Client {
    Both(PathBuf),
    Pair(PathBuf, PathBuf),
}

/// Reads the servers in a file: the mirrors in their order, then the server.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, HostsError> {
    let mut table: Table = text.parse().map_err(|source| HostsError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let mut entries = Vec::new();
    let hosts = table.remove("host").unwrap_or(Value::Table(Table::new()));
    let origin = |section: String| Origin {
        path: path.to_owned(),
        section,
    };
    for (url, value) in decode::<Table>(&origin("[host]".to_owned()), hosts)? {
        let origin = origin(format!("[host.{url:?}]"));
        entries.push(Entry {
            section: decode(&origin, value)?,
            server: Some(url),
            origin,
        });
    }
    let top = origin("the top level".to_owned());
    let server = table.remove("server");
    let server: Option<String> = server.map(|server| decode(&top, server)).transpose()?;
    entries.push(Entry {
        section: decode(&top, Value::Table(table))?,
        server: server.filter(|server| !server.is_empty()),
        origin: top,
    });
    Ok(entries)
}

/// Returns the host that an entry describes; `registry` is the one that the file is for.
pub(super) fn host(entry: Entry, registry: &Host) -> Result<Host, HostsError> {
    let Entry {
        origin,
        server,
        section,
    } = entry;
    let (base, other, is_local_default) = match &server {
        Some(server) => (url(&origin, server, section.override_path)?, None, false),
        None => (registry.base.clone(), registry.other.clone(), true),
    };
    let directory = origin.path.parent().unwrap_or(Path::new(""));
    let ca = section.ca.into_list();
    let ca: Vec<PathBuf> = ca.iter().map(|path| directory.join(path)).collect();
    let tls = Tls::read(&ca, &section.client.pairs(directory))?;
    let inherited = is_local_default && registry.tls.skip_verify;
    let skip_verify = section.skip_verify.unwrap_or(inherited && ca.is_empty());
    let connect = section
        .dial_timeout
        .map(|text| {
            duration(&text)
                .ok_or_else(|| origin.bad("dial_timeout", text, "is not a time such as \"5s\""))
        })
        .transpose()?;
    let host = Host {
        base,
        other,
        is_registry: false,
        capabilities: capabilities(&origin, &section.capabilities)?,
        tls: Tls::default(),
        headers: headers(&origin, section.header)?,
        connect,
    };
    let mut host = super::with_tls(host, tls);
    host.tls.skip_verify = skip_verify;
    Ok(host)
}

fn decode<'de, T: Deserialize<'de>>(origin: &Origin, value: Value) -> Result<T, HostsError> {
    T::deserialize(value).map_err(|source| HostsError::Section {
        path: origin.path.clone(),
        section: origin.section.clone(),
        source: Box::new(source),
    })
}

/// Reads the URL of a server; https where it has no scheme. The API is under `/v2` of its path
/// unless the path is meant as it is.
fn url(origin: &Origin, server: &str, is_path_meant: bool) -> Result<Url, HostsError> {
    let text = if server.contains("://") {
        server.to_owned()
    } else {
        format!("https://{server}")
    };
    let bad = |fault| origin.bad("the URL", server.to_owned(), fault);
    let mut url: Url = text.parse().map_err(|_| bad("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(
            "holds a name or password, which belong into config.json",
        ));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    if is_path_meant || path.ends_with("/v2") {
        url.set_path(&path);
    } else {
        url.set_path(&format!("{path}/v2"));
    }
    Ok(url)
}

fn capabilities(origin: &Origin, words: &[String]) -> Result<Capabilities, HostsError> {
    if words.is_empty() {
        return Ok(Capabilities::ALL);
    }
    let mut found = Capabilities {
        pull: false,
        resolve: false,
        push: false,
    };
    for word in words {
        match word.to_ascii_lowercase().as_str() {
            "pull" => found.pull = true,
            "resolve" => found.resolve = true,
            "push" => found.push = true,
            "referrers" => {}
            _ => {
                let fault = "is none of pull, resolve, push and referrers";
                return Err(origin.bad("capabilities", word.clone(), fault));
            }
        }
    }
    Ok(found)
}

fn headers(
    origin: &Origin,
    section: BTreeMap<String, OneOrMany<String>>,
) -> Result<HeaderMap, HostsError> {
    let mut headers = HeaderMap::new();
    for (name, values) in section {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| origin.bad("header", name.clone(), "is not the name of a header"))?;
        for value in values.into_list() {
            // The value may be a secret, and is not repeated.
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                origin.bad(
                    "header",
                    name.clone(),
                    "has a value that no header can have",
                )
            })?;
            value.set_sensitive(true);
            headers.append(key.clone(), value);
        }
    }
    Ok(headers)
}

/// Reads a time as Go writes it: numbers with units, such as `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = behind;
    }
    (!text.trim().is_empty()).then_some(total)
}

impl Origin {
    fn bad(&self, key: &'static str, value: String, fault: &'static str) -> HostsError {
        HostsError::Value {
            path: self.path.clone(),
            section: self.section.clone(),
            key,
            value,
            fault,
        }
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn into_list(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Clients {
    fn pairs(self, directory: &Path) -> Vec<Pair> {
        let list = match self {
            Self::One(path) => vec![Client::Both(path)],
            Self::Many(list) => list,
        };
        let pair = |client| match client {
            Client::Both(path) => Pair {
                certificate: directory.join(path),
                key: None,
            },
            Client::Pair(certificate, key) => Pair {
                certificate: directory.join(certificate),
                key: Some(directory.join(&key)).filter(|_| !key.as_os_str().is_empty()),
            },
        };
        list.into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("5s", Some(5_000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("0s", Some(0)),
            ("5", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1y", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn urls() {
        let origin = Origin {
            path: "/d/hosts.toml".into(),
            section: "[host]".into(),
        };
        let cases = [
            ("https://m.io", false, "https://m.io/v2"),
            ("https://m.io/", false, "https://m.io/v2"),
            ("http://m.io:5000/v2/", false, "http://m.io:5000/v2"),
            ("m.io:5000", false, "https://m.io:5000/v2"),
            ("https://m.io/proxy/hub", false, "https://m.io/proxy/hub/v2"),
            ("https://m.io/v2/hub", false, "https://m.io/v2/hub/v2"),
            ("https://m.io/v2/hub/", true, "https://m.io/v2/hub"),
            ("https://m.io", true, "https://m.io/"),
        ];
        for (text, is_path_meant, expected) in cases {
            let url = url(&origin, text, is_path_meant).unwrap();
            assert_eq!(url.as_str(), expected, "{text}");
        }
        for text in ["ftp://m.io", "https://", "https://me:pass@m.io", "a b"] {
            let error = url(&origin, text, false).unwrap_err();
            assert!(
                error.to_string().contains("/d/hosts.toml"),
                "{text}: {error}"
            );
        }
    }
}
