//! Makes a packed layer from a tar archive.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::data::DataWriter;
use super::tree::Tree;
use super::writer::Index;
use super::{DATA, INDEX};
use crate::tar::Parser;
use crate::{Error, Result};

/// Makes a packed layer: takes the bytes of a tar archive, writes all of them to
/// `data`, and in the end `index`.
///
/// Memory is bounded by the metadata, about 150 bytes an entry. Nothing is hashed
/// here, and nothing is removed when the archive turns out to be bad: the directory
/// belongs to the caller, who publishes or discards it as a whole.
pub struct Builder {
    dir: OwnedFd,
    label: PathBuf,
    data: DataWriter,
    indexer: Indexer,
}

/// What a finished layer is, and the means to make it durable.
#[derive(Debug)]
pub struct Summary {
    /// The bytes of the archive.
    pub size: u64,
    /// The entries of the archive, whiteouts included.
    pub entries: u64,
    /// The inodes of the layer, the root and implied directories included.
    pub inodes: u64,
    /// The hard links whose targets a lower layer must have.
    pub lower_links: u64,
    data: OwnedFd,
    index: OwnedFd,
    label: PathBuf,
}

/// The tree of an archive that comes in pieces; writes nothing.
#[derive(Debug)]
pub(super) struct Indexer {
    parser: Parser,
    tree: Tree,
    entries: u64,
}

impl Builder {
    /// Creates `data` in a directory that has neither it nor `index`. The label, the
    /// layer's diff ID if it is known, is for messages.
    pub fn new(dir: BorrowedFd<'_>, label: &str) -> Result<Self> {
        let label = PathBuf::from(label);
        let dir = dir.try_clone_to_owned().map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            Error::system("open", &label)(errno.unwrap_or(rustix::io::Errno::IO))
        })?;
        let data = DataWriter::create(dir.as_fd(), DATA, label.join(DATA))?;
        Ok(Self {
            dir,
            label,
            data,
            indexer: Indexer::new(),
        })
    }

    /// Takes the next bytes of the archive. They are written as they come: pieces of
    /// 64 KiB and more are best. After an error the builder is of no more use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.indexer.push(bytes)?;
        self.data.push(bytes)
    }

    /// Ends the archive and writes `index`. Nothing is durable before
    /// [`Summary::sync`].
    pub fn finish(self) -> Result<Summary> {
        let (data, size) = self.data.finish()?;
        let index = self.indexer.finish(size)?;
        let mut writer = DataWriter::create(self.dir.as_fd(), INDEX, self.label.join(INDEX))?;
        for piece in index.pieces() {
            writer.push(piece)?;
        }
        let (file, _) = writer.finish()?;
        Ok(Summary {
            size,
            entries: self.indexer.entries,
            inodes: index.inodes(),
            lower_links: index.lower_links(),
            data,
            index: file,
            label: self.label,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Summary {
    /// Writes both files through to the disk. The names of the files become durable
    /// with the directory, which is the caller's.
    pub fn sync(&self) -> Result<()> {
        let sync = |file: &OwnedFd, name: &str| {
            let path: &Path = &self.label;
            rustix::fs::fdatasync(file).map_err(Error::system("sync", path.join(name)))
        };
        sync(&self.data, DATA)?;
        sync(&self.index, INDEX)
    }
}

impl Indexer {
    /// Returns an indexer that has seen nothing.
    pub(super) fn new() -> Self {
        Self {
            parser: Parser::default(),
            tree: Tree::new(),
            entries: 0,
        }
    }

    /// Takes the next bytes of the archive.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let Self {
            parser,
            tree,
            entries,
        } = self;
        parser.push(bytes, &mut |entry| {
            *entries += 1;
            tree.apply(&entry)
        })?;
        Ok(())
    }

    /// Ends an archive of `size` bytes; returns its index.
    pub(super) fn finish(&self, size: u64) -> Result<Index<'_>> {
        self.parser.finish()?;
        Ok(Index::of(&self.tree, size)?)
    }
}
