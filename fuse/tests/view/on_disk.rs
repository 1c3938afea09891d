//! Directory layers made by hand, one step after the other.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mica_fuse::{DirectoryLayer, Layer, View, ViewOptions};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};
use tempfile::TempDir;

/// One step in the making of a layer. Directories on the way are made as needed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Directory(&'static str, u32),
    File(&'static str, &'static str),
    HardLink(&'static str, &'static str),
    Symlink(&'static str, &'static str),
    Whiteout(&'static str),
    Device(&'static str, u32, u32),
    Fifo(&'static str),
    Xattr(&'static str, &'static str, &'static str),
}

/// A stack of layers in a directory that goes away with it, uppermost first.
pub(crate) struct Stack {
    directory: TempDir,
    layers: Vec<PathBuf>,
}

impl Stack {
    pub(crate) fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            layers: Vec::new(),
        }
    }

    /// Makes a stack from the steps of each layer, uppermost first.
    pub(crate) fn of(layers: &[&[Step]]) -> Self {
        let mut stack = Self::new();
        for steps in layers {
            let layer = stack.add();
            steps.iter().for_each(|step| take(&layer, *step));
        }
        stack
    }

    /// Adds an empty layer below the others.
    pub(crate) fn add(&mut self) -> PathBuf {
        let layer = self.directory.path().join(self.layers.len().to_string());
        fs::create_dir(&layer).unwrap();
        fs::set_permissions(&layer, fs::Permissions::from_mode(0o755)).unwrap();
        self.layers.push(layer.clone());
        layer
    }

    /// Puts a layer made elsewhere above the others.
    pub(crate) fn put(&mut self, layer: PathBuf) {
        self.layers.insert(0, layer);
    }

    /// Returns the directory that goes away with the stack.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn layers(&self) -> &[PathBuf] {
        &self.layers
    }

    pub(crate) fn view(&self) -> View {
        View::open(
            self.layers.iter().map(|path| open(path)).collect(),
            ViewOptions::default(),
        )
        .unwrap()
    }
}

/// Opens a directory layer.
pub(crate) fn open(path: &Path) -> Layer {
    Layer::Directory(Arc::new(DirectoryLayer::open(path).unwrap()))
}

/// Takes one step.
pub(crate) fn take(layer: &Path, step: Step) {
    let at = |path: &str| {
        let path = layer.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let node = |path: &str, kind, device| {
        mknodat(CWD, at(path), kind, Mode::from_raw_mode(0o644), device).unwrap();
    };
    match step {
        Step::Directory(path, mode) => {
            fs::create_dir_all(at(path)).unwrap();
            fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        Step::File(path, contents) => fs::write(at(path), contents).unwrap(),
        Step::HardLink(path, target) => fs::hard_link(layer.join(target), at(path)).unwrap(),
        Step::Symlink(path, target) => symlink(target, at(path)).unwrap(),
        Step::Whiteout(path) => node(path, FileType::CharacterDevice, makedev(0, 0)),
        Step::Device(path, major, minor) => {
            node(path, FileType::CharacterDevice, makedev(major, minor));
        }
        Step::Fifo(path) => node(path, FileType::Fifo, 0),
        Step::Xattr(path, name, value) => {
            rustix::fs::lsetxattr(at(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
        }
    }
}
