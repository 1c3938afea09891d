//! The labels that name the repositories in which a blob is, by the host of their registry.
//!
//! Key and form are containerd's: `containerd.io/distribution.source.<host>`, without a port,
//! with the sorted paths of repositories.

use std::collections::BTreeSet;

use crate::labels;

const PREFIX: &str = "containerd.io/distribution.source.";

/// Returns the key of the label for a registry's host.
pub(crate) fn key(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    format!("{PREFIX}{name}")
}

/// Returns the repositories in a label's value, whoever has written it.
pub(crate) fn repositories(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').filter(|path| !path.is_empty())
}

/// Returns the value of a label with one repository more; `None` for one that would be too
/// long, which stays as it is.
pub(crate) fn extended(key: &str, old: &str, path: &str) -> Option<String> {
    let mut paths: BTreeSet<&str> = repositories(old).collect();
    paths.insert(path);
    let value = paths.into_iter().collect::<Vec<_>>().join(",");
    labels::fits(key, &value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_port() {
        for (host, expected) in [
            ("docker.io", "docker.io"),
            ("127.0.0.1:5000", "127.0.0.1"),
            ("[::1]:5000", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(key(host), format!("{PREFIX}{expected}"));
        }
    }

    #[test]
    fn paths_are_sorted_and_stand_once() {
        let long = "a/".repeat(3000);
        let cases = [
            ("first", "", "b", Some("b")),
            ("second", "b", "a", Some("a,b")),
            ("known", "a,b", "a", Some("a,b")),
            ("too long", &long, "a", None),
        ];
        for (why, old, path, expected) in cases {
            assert_eq!(extended(PREFIX, old, path).as_deref(), expected, "{why}");
        }
    }
}
