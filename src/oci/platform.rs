//! Platforms: how they are written, which spellings mean the same, and which of them one machine
//! can run, best first.
//!
//! Normalisation and order are containerd's (its `platforms` module), so that mica picks the
//! same child of an index as `ctr` does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The operating system and processor that an image is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, by Go's name.
    #[serde(default)]
    pub os: String,
    /// The processor architecture, by Go's name.
    #[serde(default)]
    pub architecture: String,
    /// The level of the architecture, such as `v7`; empty when there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// Returns a platform in its normal spelling.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let (architecture, variant) = normal_architecture(
            &architecture.to_ascii_lowercase(),
            &variant.to_ascii_lowercase(),
        );
        Self {
            os,
            architecture,
            variant,
        }
    }

    /// Returns the platform that mica runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new(std::env::consts::OS, architecture, "")
    }

    /// Returns this platform in its normal spelling.
    #[must_use]
    pub fn normalized(&self) -> Self {
        Self::new(&self.os, &self.architecture, &self.variant)
    }

    /// Says whether this is `unknown/unknown`, which marks what is no image.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    /// Reads `os/architecture[/variant]`, or an architecture alone, which means Linux.
    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !parts.iter().all(is_word) {
            return Err(ParsePlatformError(text.to_owned()));
        }
        match parts.as_slice() {
            [architecture] => Ok(Self::new("linux", architecture, "")),
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(ParsePlatformError(text.to_owned())),
        }
    }
}

/// A text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a platform: os/architecture[/variant] is")]
pub struct ParsePlatformError(String);

/// The platforms that one machine can run, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformMatcher {
    wanted: Platform,
    fallbacks: Vec<Platform>,
}

impl PlatformMatcher {
    /// Returns the platforms that a machine of `platform` can run.
    pub fn new(platform: &Platform) -> Self {
        let wanted = platform.normalized();
        let fallbacks = fallbacks(&wanted.architecture, &wanted.variant)
            .into_iter()
            .map(|(architecture, variant)| Platform::new(&wanted.os, architecture, &variant))
            .collect();
        Self { wanted, fallbacks }
    }

    /// Returns the platform that was asked for.
    pub fn wanted(&self) -> &Platform {
        &self.wanted
    }

    /// Returns how well `platform` suits, 0 best; nothing when it does not run.
    pub fn rank(&self, platform: &Platform) -> Option<usize> {
        let platform = platform.normalized();
        self.order().position(|candidate| *candidate == platform)
    }

    fn order(&self) -> impl Iterator<Item = &Platform> {
        std::iter::once(&self.wanted).chain(&self.fallbacks)
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// Returns what else runs on an architecture given in its normal spelling, best first.
fn fallbacks(architecture: &str, variant: &str) -> Vec<(&'static str, String)> {
    match architecture {
        "amd64" => {
            let level: u32 = level_of(variant).map_or(1, |(level, _)| level).min(9);
            let mut below: Vec<_> = (1..level)
                .rev()
                .map(|level| ("amd64", format!("v{level}")))
                .collect();
            below.push(("386", String::new()));
            below
        }
        "arm" => arm_below(level_of(variant).map_or(0, |(level, _)| level)),
        "arm64" => arm64_below(variant),
        _ => Vec::new(),
    }
}

fn arm_below(level: u32) -> Vec<(&'static str, String)> {
    (5..level.min(9))
        .rev()
        .map(|level| ("arm", format!("v{level}")))
        .collect()
}

/// Armv9.x is a superset of Armv8.(x+5), and all of them run the 32-bit code of Armv8 and below.
fn arm64_below(variant: &str) -> Vec<(&'static str, String)> {
    let (level, minor) = if variant.is_empty() {
        Some((8, 0))
    } else {
        level_of(variant)
    }
    .filter(|(level, _)| matches!(level, 8 | 9))
    .map_or((0, 0), |(level, minor)| (level, minor.min(9)));
    let spelling = |level: u32, minor: u32| ("arm64", format!("v{level}.{minor}"));
    let mut below = Vec::new();
    let newest_v8 = match level {
        9 => {
            below.extend((0..minor).rev().map(|minor| spelling(9, minor)));
            (minor + 5).min(9) + 1
        }
        8 => minor,
        _ => return below,
    };
    below.extend((0..newest_v8).rev().map(|minor| spelling(8, minor)));
    below.push(("arm", "v8".to_owned()));
    below.extend(arm_below(8));
    below
}

/// Reads `v8.2` as 8 and 2, `v3` as 3 and 0.
fn level_of(variant: &str) -> Option<(u32, u32)> {
    let number = variant.strip_prefix('v').unwrap_or(variant);
    match number.split_once('.') {
        Some((level, minor)) => Some((level.parse().ok()?, minor.parse().ok()?)),
        None => Some((number.parse().ok()?, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_spellings() {
        let cases = [
            ("linux/x86_64", "linux/amd64"),
            ("linux/x86-64/v1", "linux/amd64"),
            ("Linux/AMD64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v8.2", "linux/arm64/v8.2"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/5", "linux/arm/v5"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("s390x", "linux/s390x"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                text.parse::<Platform>().unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        for text in [
            "",
            "/",
            "linux/",
            "linux/amd64/v1/x",
            "linux amd64",
            "linux/a*",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn match_order() {
        let cases = [
            ("linux/amd64", "amd64 386"),
            ("linux/amd64/v3", "amd64/v3 amd64/v2 amd64 386"),
            ("linux/arm/v7", "arm/v7 arm/v6 arm/v5"),
            ("linux/arm/v5", "arm/v5"),
            ("linux/arm64", "arm64 arm/v8 arm/v7 arm/v6 arm/v5"),
            (
                "linux/arm64/v8.2",
                "arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5",
            ),
            (
                "linux/arm64/v9.1",
                "arm64/v9.1 arm64/v9 arm64/v8.6 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 \
                 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5",
            ),
            ("linux/s390x", "s390x"),
            (
                "linux/amd64/v4294967295",
                "amd64/v4294967295 amd64/v8 amd64/v7 amd64/v6 amd64/v5 \
              amd64/v4 amd64/v3 amd64/v2 amd64 386",
            ),
        ];
        for (text, expected) in cases {
            let matcher = PlatformMatcher::new(&text.parse().unwrap());
            let order: Vec<String> = matcher
                .order()
                .map(|platform| platform.to_string().replace("linux/", ""))
                .collect();
            assert_eq!(order.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn ranks() {
        let matcher = PlatformMatcher::new(&"linux/amd64/v2".parse().unwrap());
        let rank = |text: &str| matcher.rank(&text.parse().unwrap());
        assert_eq!(rank("linux/x86_64/v2"), Some(0));
        assert_eq!(rank("linux/amd64"), Some(1));
        assert_eq!(rank("linux/386"), Some(2));
        assert_eq!(rank("linux/arm64"), None);
        assert_eq!(rank("windows/amd64"), None);
        assert_eq!(rank("unknown/unknown"), None);
    }
}
