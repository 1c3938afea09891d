//! The way from an image's target, through indexes, to the one manifest for a platform.
//!
//! The walk itself fetches nothing: it says which document it needs next and is given its bytes.
//! It goes down to the best child first and comes back when that leads nowhere, as containerd
//! does. Depth and number of documents are bounded, whatever the indexes say.

use thiserror::Error;

use super::descriptor::Descriptor;
use super::document::{Document, DocumentError};
use super::manifest::Manifest;
use super::platform::{Platform, PlatformMatcher};

/// How many indexes may stand between the target and a manifest.
pub const MAX_INDEX_DEPTH: usize = 8;

/// How many documents are read in search of one manifest.
pub const MAX_DOCUMENTS: usize = 64;

/// A search for the manifest of one platform.
///
/// Call [`next`](Self::next), fetch that document, give it to [`visit`](Self::visit), until a
/// manifest or an error comes.
#[derive(Debug)]
pub struct Walk {
    matcher: PlatformMatcher,
    /// What is still to be read, best last, with the number of indexes above.
    open: Vec<(usize, Descriptor)>,
    visited: usize,
    offered: Vec<Platform>,
}

/// Why there is no manifest for a platform.
#[derive(Debug, Error)]
pub enum WalkError {
    /// None of the manifests is for the platform.
    #[error("no image for platform {wanted}{}", offer(.offered))]
    NoPlatform {
        /// The platform asked for.
        wanted: Platform,
        /// The platforms that there are images for.
        offered: Vec<Platform>,
    },
    /// Indexes are nested deeper than [`MAX_INDEX_DEPTH`].
    #[error("indexes are nested more than {MAX_INDEX_DEPTH} deep at {}", .0.digest)]
    TooDeep(Box<Descriptor>),
    /// More documents than this had to be read.
    #[error("no end of the image's documents after the first {0}")]
    TooMany(usize),
    /// A document on the way cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl Walk {
    /// Returns a walk that starts at `target`.
    pub fn new(target: Descriptor, matcher: PlatformMatcher) -> Self {
        Self {
            matcher,
            open: vec![(0, target)],
            visited: 0,
            offered: Vec::new(),
        }
    }

    /// Returns the document that must be read next.
    pub fn next(&self) -> Result<&Descriptor, WalkError> {
        let Some((depth, descriptor)) = self.open.last() else {
            return Err(self.no_platform());
        };
        if *depth > MAX_INDEX_DEPTH {
            return Err(WalkError::TooDeep(Box::new(descriptor.clone())));
        }
        if self.visited >= MAX_DOCUMENTS {
            return Err(WalkError::TooMany(MAX_DOCUMENTS));
        }
        Document::check(descriptor)?;
        Ok(descriptor)
    }

    /// Takes the bytes of the document that [`next`](Self::next) asked for, and returns the
    /// manifest with its descriptor when the search is at its end.
    pub fn visit(&mut self, bytes: &[u8]) -> Result<Option<(Descriptor, Manifest)>, WalkError> {
        let Some((depth, descriptor)) = self.open.pop() else {
            return Err(self.no_platform());
        };
        self.visited += 1;
        let index = match Document::parse(&descriptor, bytes)? {
            Document::Manifest(manifest) => return Ok(Some((descriptor, manifest))),
            Document::Index(index) => index,
        };
        let images = index
            .manifests
            .iter()
            .filter(|child| !child.is_attestation());
        self.offered
            .extend(images.filter_map(|child| child.platform.clone()));
        let candidates = index.candidates(&self.matcher).into_iter().rev();
        self.open
            .extend(candidates.map(|child| (depth + 1, child.clone())));
        Ok(None)
    }

    fn no_platform(&self) -> WalkError {
        let wanted = self.matcher.wanted().clone();
        WalkError::NoPlatform {
            wanted,
            offered: self.offered.clone(),
        }
    }
}

fn offer(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return String::new();
    }
    let names: Vec<String> = platforms.iter().take(16).map(Platform::to_string).collect();
    format!("; there is {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::oci::{Digest, MediaType};

    /// Documents by digest, as a registry has them.
    #[derive(Default)]
    struct Documents(HashMap<Digest, Vec<u8>>);

    impl Documents {
        fn add(&mut self, media_type: &str, text: String) -> Descriptor {
            let descriptor = Descriptor::of(media_type, text.as_bytes());
            self.0.insert(descriptor.digest.clone(), text.into_bytes());
            descriptor
        }

        fn manifest(&mut self, name: &str, platform: &str) -> Descriptor {
            let digest = Digest::sha256(name.as_bytes());
            let config = MediaType::OCI_CONFIG;
            let descriptor = self.add(
                MediaType::OCI_MANIFEST,
                format!(
                    r#"{{"schemaVersion":2,"layers":[],
                        "config":{{"mediaType":"{config}","digest":"{digest}","size":2}}}}"#
                ),
            );
            Descriptor {
                platform: platform.parse().ok(),
                ..descriptor
            }
        }

        fn index(&mut self, children: &[Descriptor]) -> Descriptor {
            let children = serde_json::to_string(children).unwrap();
            self.add(
                MediaType::OCI_INDEX,
                format!(r#"{{"schemaVersion":2,"manifests":{children}}}"#),
            )
        }

        fn walk(&self, target: Descriptor) -> Result<Digest, WalkError> {
            let matcher = PlatformMatcher::new(&"linux/amd64".parse().unwrap());
            let mut walk = Walk::new(target, matcher);
            loop {
                let bytes = &self.0[&walk.next()?.digest];
                if let Some((descriptor, _)) = walk.visit(bytes)? {
                    return Ok(descriptor.digest);
                }
            }
        }
    }

    #[test]
    fn a_manifest_is_its_own_end() {
        let mut documents = Documents::default();
        let target = documents.manifest("a", "");
        assert_eq!(documents.walk(target.clone()).unwrap(), target.digest);
    }

    #[test]
    fn nested_indexes_are_searched_and_left_again() {
        let mut documents = Documents::default();
        let arm = documents.manifest("arm", "linux/arm64");
        let amd = documents.manifest("amd", "linux/amd64");
        let nothing = documents.index(&[arm]);
        let something = documents.index(std::slice::from_ref(&amd));
        let target = documents.index(&[nothing, something]);
        assert_eq!(documents.walk(target).unwrap(), amd.digest);
    }

    #[test]
    fn a_missing_platform_names_what_there_is() {
        let mut documents = Documents::default();
        let arm = documents.manifest("arm", "linux/arm64");
        let attestation = documents.manifest("attestation", "unknown/unknown");
        let target = documents.index(&[arm, attestation]);
        assert_eq!(
            documents.walk(target).unwrap_err().to_string(),
            "no image for platform linux/amd64; there is linux/arm64"
        );
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let mut documents = Documents::default();
        let mut target = documents.manifest("deep", "");
        for _ in 0..MAX_INDEX_DEPTH {
            target = documents.index(&[target]);
        }
        assert!(documents.walk(target.clone()).is_ok());
        let deeper = documents.index(&[target]);
        assert!(matches!(documents.walk(deeper), Err(WalkError::TooDeep(_))));

        let empty = documents.index(&[]);
        let wide = documents.index(&vec![empty; MAX_DOCUMENTS]);
        assert!(matches!(
            documents.walk(wide),
            Err(WalkError::TooMany(MAX_DOCUMENTS))
        ));
    }
}
