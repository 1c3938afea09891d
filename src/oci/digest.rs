//! Content digests: `sha256:<hex>` and its longer relatives.
//!
//! A [`Digest`] that exists has a known algorithm and exactly as many lower-case hexadecimal
//! digits as that algorithm yields, so it is safe as a part of a path and of a URL.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;
use sha2::{Sha256, Sha384, Sha512};
use thiserror::Error;

/// A hash function that content may be addressed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256: what nearly all content is addressed by.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms, in the order of their output's length.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the name as it stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns how many hexadecimal digits follow the colon.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    /// Returns a digester that has seen no bytes yet.
    pub fn digester(self) -> Digester {
        Digester(match self {
            Self::Sha256 => State::Sha256(Sha256::new()),
            Self::Sha384 => State::Sha384(Sha384::new()),
            Self::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Returns the digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut digester = self.digester();
        digester.update(bytes);
        digester.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = ParseDigestError;

    fn from_str(name: &str) -> Result<Self, ParseDigestError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| ParseDigestError::Algorithm(name.escape_default().to_string()))
    }
}

/// The address of some content: an algorithm and its result in lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// Returns the SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Algorithm::Sha256.digest(bytes)
    }

    /// Returns the digest made of an algorithm and its hexadecimal result, the two components
    /// that it has as a path.
    pub fn from_parts(algorithm: &str, hex: &str) -> Result<Self, ParseDigestError> {
        let algorithm: Algorithm = algorithm.parse()?;
        if hex.len() != algorithm.hex_len() {
            return Err(ParseDigestError::Length {
                algorithm,
                found: hex.len(),
            });
        }
        if !hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(ParseDigestError::Hex(algorithm));
        }
        Ok(Self {
            algorithm,
            hex: hex.into(),
        })
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Returns the first twelve hexadecimal digits, for people.
    pub fn short(&self) -> &str {
        self.hex.get(..12).unwrap_or(&self.hex)
    }

    /// Says whether `bytes` are the content that this digest addresses.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.algorithm.digest(bytes) == *self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(ParseDigestError::NoColon)?;
        Self::from_parts(algorithm, hex)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// By hand, because lists have tens of thousands of digests: without a copy of the text.
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads a digest that stands in a document.
struct Text;

impl Visitor<'_> for Text {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

/// Computes a [`Digest`] of bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct Digester(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Digester {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => digest_of(Algorithm::Sha256, &state.finalize()),
            State::Sha384(state) => digest_of(Algorithm::Sha384, &state.finalize()),
            State::Sha512(state) => digest_of(Algorithm::Sha512, &state.finalize()),
        }
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseDigestError {
    /// There is no colon between an algorithm and its result.
    #[error("digest has no algorithm")]
    NoColon,
    /// The algorithm is not one of [`Algorithm::ALL`].
    #[error("unsupported digest algorithm {0:?}")]
    Algorithm(String),
    /// The result is too short or too long.
    #[error("{algorithm} digest has {found} characters instead of {}", .algorithm.hex_len())]
    Length {
        /// The algorithm named.
        algorithm: Algorithm,
        /// How many bytes follow the colon.
        found: usize,
    },
    /// The result holds something other than lower-case hexadecimal digits.
    #[error("{0} digest is not lower-case hexadecimal")]
    Hex(Algorithm),
}

fn digest_of(algorithm: Algorithm, output: &[u8]) -> Digest {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    let hex: String = output
        .iter()
        .flat_map(|&byte| [digit(byte >> 4), digit(byte)])
        .collect();
    Digest {
        algorithm,
        hex: hex.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_SHA256: &str =
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_answers() {
        let abc = [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7",
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ];
        for (algorithm, expected) in Algorithm::ALL.into_iter().zip(abc) {
            let mut digester = algorithm.digester();
            digester.update(b"a");
            digester.update(b"bc");
            let digest = digester.finish();
            assert_eq!(digest.to_string(), expected);
            assert_eq!(expected.parse(), Ok(digest.clone()));
            assert!(digest.matches(b"abc"));
            assert!(!digest.matches(b"abd"));
        }
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY_SHA256);
    }

    #[test]
    fn parsing_is_strict() {
        let upper = EMPTY_SHA256.to_uppercase().replace("SHA256", "sha256");
        let cases = [
            ("nothing", String::new(), ParseDigestError::NoColon),
            ("hex alone", "e3b0".into(), ParseDigestError::NoColon),
            (
                "unknown algorithm",
                "md5:00".into(),
                ParseDigestError::Algorithm("md5".into()),
            ),
            (
                "upper-case hex",
                upper,
                ParseDigestError::Hex(Algorithm::Sha256),
            ),
            (
                "a path instead of hex",
                format!("sha256:../{}", "a".repeat(61)),
                ParseDigestError::Hex(Algorithm::Sha256),
            ),
            (
                "too short",
                "sha512:abc".into(),
                ParseDigestError::Length {
                    algorithm: Algorithm::Sha512,
                    found: 3,
                },
            ),
            (
                "white space behind",
                format!("{EMPTY_SHA256} "),
                ParseDigestError::Length {
                    algorithm: Algorithm::Sha256,
                    found: 65,
                },
            ),
        ];
        for (why, text, expected) in cases {
            assert_eq!(text.parse::<Digest>(), Err(expected), "{why}");
        }
    }

    #[test]
    fn json_is_the_text() {
        let digest: Digest = EMPTY_SHA256.parse().unwrap();
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("{EMPTY_SHA256:?}"));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }
}
