//! A directory in the form of overlayfs, written as a layer: without what lies below it, so
//! that all its marks are kept, whatever they hide.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use mica_fuse::{DirectoryLayer, Entry, FileType, Layer, View, ViewOptions};

use super::DiffError;
use super::error::shown;
use super::layer::LayerWriter;
use super::tree::file_type;
use super::walk::{Relation, Status, Visit, walk};

/// A directory layer and what it shows alone.
#[derive(Debug)]
pub(super) struct DirectoryTree {
    layer: Arc<DirectoryLayer>,
    view: View,
}

/// The layer that is being written, and what the directories so far say of what is next.
struct Marked<'t, 'v, W> {
    layer: &'t DirectoryLayer,
    writer: LayerWriter<'v, W>,
    opaque: HashSet<Vec<u8>>,
}

impl DirectoryTree {
    /// Opens the directory. Nobody may change it meanwhile.
    pub(super) fn open(path: &Path) -> Result<Self, DiffError> {
        let layer = Arc::new(DirectoryLayer::open(path).map_err(DiffError::View)?);
        let layers = vec![Layer::Directory(Arc::clone(&layer))];
        let view = View::open(layers, ViewOptions::default()).map_err(DiffError::View)?;
        Ok(Self { layer, view })
    }

    /// Writes it as an uncompressed OCI layer; the same directory makes the same bytes.
    pub(super) fn write_layer<W: Write>(&self, output: W) -> Result<W, DiffError> {
        let mut marked = Marked {
            layer: &self.layer,
            writer: LayerWriter::new(&self.view, false, None, output),
            opaque: HashSet::new(),
        };
        walk(None, &self.view, Relation::None, |visit| {
            marked.visit(visit)
        })?;
        marked.writer.finish()
    }
}

impl<W: Write> Marked<'_, '_, W> {
    fn visit(&mut self, visit: Visit<'_>) -> Result<(), DiffError> {
        self.writer.visit(visit)?;
        match visit.entry {
            Some(entry) if file_type(&entry.attr) == FileType::Directory => {
                self.marks(visit.path, entry)
            }
            _ => Ok(()),
        }
    }

    /// Writes what a directory says of the layers below.
    fn marks(&mut self, path: &[u8], directory: Entry) -> Result<(), DiffError> {
        let marks = self
            .layer
            .directory_marks(path)
            .map_err(DiffError::read(path))?;
        if marks.redirected {
            return Err(DiffError::Redirected(shown(path)));
        }
        if self.opaque.remove(path) || marks.opaque {
            self.mark(path, Status::Opaque, Some(directory))?;
        }
        let in_it = |name: Vec<u8>| match path {
            [] => name,
            _ => [path, b"/", &name[..]].concat(),
        };
        for name in marks.whiteouts {
            self.mark(&in_it(name), Status::Deleted, None)?;
        }
        self.opaque
            .extend(marks.opaque_directories.into_iter().map(in_it));
        Ok(())
    }

    fn mark(&mut self, path: &[u8], status: Status, entry: Option<Entry>) -> Result<(), DiffError> {
        self.writer.visit(Visit {
            path,
            status,
            entry,
        })
    }
}
