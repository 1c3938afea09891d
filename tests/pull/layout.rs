//! OCI image layouts, made layer by layer.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use mica::oci::{Descriptor, Digest, MediaType, Platform};
use serde_json::json;
use tempfile::TempDir;

/// An OCI image layout with one image.
pub(crate) struct Layout {
    dir: TempDir,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) platform: Platform,
    /// Whether the manifest holds the config itself.
    pub(crate) inline_config: bool,
}

impl Layout {
    /// Returns a layout of an image without layers, which is not written yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(
            dir.path().join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        Self {
            dir,
            layers: Vec::new(),
            diff_ids: Vec::new(),
            platform: Platform::host(),
            inline_config: false,
        }
    }

    /// Adds a layer of which both forms are given.
    pub(crate) fn add_layer(&mut self, suffix: &str, tar: &[u8], blob: &[u8]) -> Descriptor {
        let descriptor = self.add_blob(&format!("{}{suffix}", MediaType::OCI_LAYER), blob);
        self.layers.push(descriptor.clone());
        self.diff_ids.push(Digest::sha256(tar));
        descriptor
    }

    /// Adds a layer as gzip.
    pub(crate) fn add_tar(&mut self, tar: &[u8]) -> Descriptor {
        self.add_layer("+gzip", tar, &gzip(tar, Compression::fast()))
    }

    /// Writes config, manifest and index; returns the manifest's digest.
    pub(crate) fn finish(&self) -> Digest {
        self.finish_with(&json!({}))
    }

    /// Writes config, manifest and index, with more in the config.
    pub(crate) fn finish_with(&self, more: &serde_json::Value) -> Digest {
        let mut config = json!({
            "os": "linux", "architecture": self.platform.architecture,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        });
        let more = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(more);
        let bytes = config.to_string();
        let mut config = self.add_blob(MediaType::OCI_CONFIG, bytes.as_bytes());
        if self.inline_config {
            config.data = Some(STANDARD.encode(bytes));
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": config, "layers": self.layers,
        });
        let manifest = self.add_blob(MediaType::OCI_MANIFEST, manifest.to_string().as_bytes());
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(self.dir.path().join("index.json"), index.to_string()).unwrap();
        manifest.digest
    }

    /// Returns the layout with its documents written.
    pub(crate) fn finished(self) -> Self {
        self.finish();
        self
    }

    /// Returns the descriptor of what the index names.
    pub(crate) fn target(&self) -> Descriptor {
        let index = fs::read(self.dir.path().join("index.json")).unwrap();
        let index: mica::oci::Index = serde_json::from_slice(&index).unwrap();
        index.manifests[0].clone()
    }

    /// Returns the digest of the image's config.
    pub(crate) fn config(&self) -> Digest {
        let manifest = fs::read(self.blob(&self.target().digest)).unwrap();
        let manifest: mica::oci::Manifest = serde_json::from_slice(&manifest).unwrap();
        manifest.config.digest
    }

    /// Returns all blobs with their digests.
    pub(crate) fn blobs(&self) -> Vec<(Digest, Vec<u8>)> {
        let entries = fs::read_dir(self.dir.path().join("blobs/sha256")).unwrap();
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            (Digest::sha256(&bytes), bytes)
        };
        entries.map(read).collect()
    }

    /// Returns the file of a blob.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.path().join("blobs/sha256").join(digest.hex())
    }

    /// Returns what names the image on the command line.
    pub(crate) fn source(&self) -> String {
        format!("oci:{}", self.dir.path().display())
    }

    /// Lets other users read the layout.
    pub(crate) fn open_to_all(&self) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes the index stand for another document.
    pub(crate) fn point_to(&self, media_type: &str, document: &[u8]) {
        let target = self.add_blob(media_type, document);
        let index = json!({"schemaVersion": 2, "manifests": [target]});
        fs::write(self.dir.path().join("index.json"), index.to_string()).unwrap();
    }

    pub(crate) fn add_blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        fs::write(self.blob(&descriptor.digest), bytes).unwrap();
        descriptor
    }
}

/// Returns a tar of regular files.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Returns bytes that hardly compress, different for each seed.
pub(crate) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next)
        .flatten()
        .take(length)
        .collect()
}

/// Returns one gzip member.
pub(crate) fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
