//! What `docker save` writes: `manifest.json`, image configs, and the tars of layers, by today's
//! names (`blobs/sha256/…`) or by those of old, where layers may be links to each other.
//!
//! Such an archive has no manifest in the sense of a registry; one of Docker's second schema is
//! made from the config and the layers. The digest of a plain layer is its diff ID, so only
//! compressed layers are hashed for it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Deserialize;

use super::error::SourceError;
use super::files::Files;
use super::layout::read_json;
use super::name;
use super::section::{Place, Section, compression_of};
use crate::oci::{
    Descriptor, Digest, ImageConfig, MAX_CONFIG_SIZE, MAX_LAYERS, Manifest, MediaType, Reference,
};

/// The file that lists the images.
pub(super) const LIST: &str = "manifest.json";
const KIND: &str = "Docker archive";

/// One image in an archive made by `docker save`.
#[derive(Debug)]
pub struct DockerArchive {
    files: Arc<Files>,
    image: Image,
    name: Reference,
    tag: Option<String>,
    /// Made once, when the image is first resolved.
    contents: Mutex<Option<Arc<Contents>>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The manifest that stands for the image, and where all that it names lies.
#[derive(Debug)]
struct Contents {
    target: Descriptor,
    blobs: HashMap<Digest, Section>,
}

impl DockerArchive {
    /// Returns the prefix of its address, its path, and the tag by which it was chosen.
    pub(super) fn place(&self) -> (&'static str, &Path, Option<&str>) {
        ("docker-archive", self.files.path(), self.tag.as_deref())
    }

    pub(super) fn open(files: Files, tag: Option<&str>) -> Result<Self, SourceError> {
        let path = files.path().to_owned();
        let images: Vec<Image> = read_json(&files, LIST)?;
        let tags = || {
            images
                .iter()
                .flat_map(Image::tags)
                .map(str::to_owned)
                .collect()
        };
        let found: Vec<&Image> = images
            .iter()
            .filter(|image| tag.is_none_or(|tag| image.has_tag(tag)))
            .collect();
        let image = match (found.as_slice(), tag) {
            ([image], _) => (*image).clone(),
            ([], Some(tag)) => {
                return Err(SourceError::NoTag {
                    path,
                    tag: tag.to_owned(),
                    tags: tags(),
                });
            }
            ([], None) => {
                let reason = "it holds no image".to_owned();
                return Err(SourceError::Invalid {
                    path,
                    kind: KIND,
                    reason,
                });
            }
            (several, _) => {
                return Err(SourceError::Ambiguous {
                    path,
                    count: several.len(),
                    tags: tags(),
                });
            }
        };
        // With several names, the one that was asked for is the image's.
        let wanted = image
            .tags()
            .filter(|name| tag.is_none_or(|tag| is_named(name, tag)));
        let full: Vec<String> = wanted
            .filter_map(|name| name.parse::<Reference>().ok())
            .map(|name| name.to_string())
            .collect();
        let name = name::of_image(full.iter().map(String::as_str), &path, tag);
        Ok(Self {
            files: Arc::new(files),
            image,
            name,
            tag: tag.map(str::to_owned),
            contents: Mutex::new(None),
        })
    }

    /// Returns all images of an archive, each with its names; the first is that of its source.
    pub(super) fn all(files: &Arc<Files>) -> Result<Vec<(Self, Vec<Reference>)>, SourceError> {
        let images: Vec<Image> = read_json(files, LIST)?;
        let is_one = images.len() == 1;
        let image = |image: Image| {
            let mut names: Vec<Reference> =
                image.tags().filter_map(|name| name.parse().ok()).collect();
            if names.is_empty() {
                names.push(name::of_image([], files.path(), None));
            }
            let tag = image.tags().next().filter(|_| !is_one);
            let archive = Self {
                files: Arc::clone(files),
                name: names.first()?.clone(),
                tag: tag.map(str::to_owned),
                image,
                contents: Mutex::new(None),
            };
            Some((archive, names))
        };
        Ok(images.into_iter().filter_map(image).collect())
    }

    pub(super) fn name(&self) -> &Reference {
        &self.name
    }

    /// Returns the descriptor of the manifest that stands for the image. Blocks while compressed
    /// layers are hashed, the first time.
    pub(super) fn resolve(&self) -> Result<Descriptor, SourceError> {
        Ok(self.contents()?.target.clone())
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Section, SourceError> {
        let contents = self.contents()?;
        contents
            .blobs
            .get(digest)
            .cloned()
            .ok_or_else(|| SourceError::NoMember {
                path: self.files.path().to_owned(),
                member: digest.to_string(),
            })
    }

    fn contents(&self) -> Result<Arc<Contents>, SourceError> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(contents) = &*contents {
            return Ok(Arc::clone(contents));
        }
        let made = Arc::new(self.read_contents()?);
        *contents = Some(Arc::clone(&made));
        Ok(made)
    }

    fn read_contents(&self) -> Result<Contents, SourceError> {
        let config_file = self.files.open(&self.image.config)?;
        let config_bytes = config_file.read_all(MAX_CONFIG_SIZE)?;
        let paths = self.image.layers.as_deref().unwrap_or_default();
        if paths.len() > MAX_LAYERS {
            return Err(self.invalid(format!("it has {} layers", paths.len())));
        }
        let config: ImageConfig =
            serde_json::from_slice(&config_bytes).map_err(|source| SourceError::Json {
                path: self.files.path().to_owned(),
                member: self.image.config.clone(),
                source,
            })?;
        let diff_ids = config.diff_ids();
        if diff_ids.len() != paths.len() {
            let (layers, ids) = (paths.len(), diff_ids.len());
            return Err(self.invalid(format!("it has {layers} layers, but {ids} diff IDs")));
        }
        let mut blobs = HashMap::new();
        let config = Descriptor::of(MediaType::DOCKER_CONFIG, &config_bytes);
        blobs.insert(config.digest.clone(), config_file);
        let mut layers = Vec::with_capacity(paths.len());
        for (path, diff_id) in paths.iter().zip(diff_ids) {
            let section = self.files.open(path)?;
            let layer = layer_descriptor(&section, &diff_id.0)?;
            blobs.insert(layer.digest.clone(), section);
            layers.push(layer);
        }
        let (target, manifest) = self.manifest(config, layers)?;
        blobs.insert(target.digest.clone(), manifest);
        Ok(Contents { target, blobs })
    }

    fn manifest(
        &self,
        config: Descriptor,
        layers: Vec<Descriptor>,
    ) -> Result<(Descriptor, Section), SourceError> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::DOCKER_MANIFEST.into()),
            config,
            layers,
            annotations: BTreeMap::new(),
        };
        let path = self.files.path().to_owned();
        let member = LIST.to_owned();
        let bytes = serde_json::to_vec(&manifest).map_err(|source| SourceError::Json {
            path: path.clone(),
            member,
            source,
        })?;
        let target = Descriptor::of(MediaType::DOCKER_MANIFEST, &bytes);
        let section = Section {
            path: Arc::new(path),
            member: target.digest.to_string(),
            size: bytes.len() as u64,
            bytes: Place::Memory(Bytes::from(bytes)),
        };
        Ok((target, section))
    }

    fn invalid(&self, reason: String) -> SourceError {
        SourceError::Invalid {
            path: self.files.path().to_owned(),
            kind: KIND,
            reason,
        }
    }
}

impl Image {
    fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().flatten().map(String::as_str)
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags().any(|name| is_named(name, tag))
    }
}

/// Says whether `name` is what `tag` asks for: the same name, or a name with this tag.
fn is_named(name: &str, tag: &str) -> bool {
    let (Ok(name), wanted) = (name.parse::<Reference>(), tag.parse::<Reference>()) else {
        return name == tag;
    };
    name.tag() == Some(tag) || wanted.is_ok_and(|wanted| wanted == name)
}

fn layer_descriptor(section: &Section, diff_id: &Digest) -> Result<Descriptor, SourceError> {
    let compression = compression_of(&section.magic()?);
    let media_type = match compression {
        None => MediaType::DOCKER_LAYER,
        Some("zstd") => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        Some(_) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
    };
    let digest = if compression.is_some() {
        section.digest()?
    } else {
        diff_id.clone()
    };
    Ok(Descriptor::new(media_type, digest, section.size))
}
