use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;

use tempfile::TempDir;

use super::*;
use crate::tar::TarFault;
use crate::{Error, Result, Segment};

mod content;
mod damage;
mod gnu;
mod model;
mod rules;

/// A layer in a directory of its own.
struct Built {
    dir: TempDir,
    layer: PackedLayer,
}

fn build(archive: &[u8]) -> Result<Built> {
    build_in_chunks(archive, archive.len().max(1))
}

fn build_in_chunks(archive: &[u8], chunk: usize) -> Result<Built> {
    let dir = tempfile::tempdir().unwrap();
    let handle = File::open(dir.path()).unwrap();
    let mut builder = Builder::new(handle.as_fd(), "test")?;
    for piece in archive.chunks(chunk) {
        builder.push(piece)?;
    }
    let summary = builder.finish()?;
    summary.sync()?;
    assert_eq!(summary.size, archive.len() as u64);
    assert_eq!(std::fs::read(dir.path().join(DATA)).unwrap(), archive);
    let layer = PackedLayer::open(handle.into(), "test")?;
    assert_eq!(u64::from(layer.inodes()), summary.inodes);
    assert_eq!(layer.lower_links().count() as u64, summary.lower_links);
    assert!(layer.matches_data(|_| {})?);
    Ok(Built { dir, layer })
}

fn fault(archive: &[u8]) -> Option<TarFault> {
    match build(archive) {
        Err(Error::Tar(error)) => Some(error.fault),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

/// Returns all bytes of a file, read at once.
fn contents(layer: &PackedLayer, index: InodeIndex) -> Vec<u8> {
    let size = usize::try_from(layer.inode(index).unwrap().size).unwrap();
    bytes(layer.read(index, 0, size).unwrap())
}

fn bytes(segments: Vec<Segment<'_>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in segments {
        match segment {
            Segment::Mapped(slice) => bytes.extend_from_slice(slice),
            Segment::Owned(owned) => bytes.extend(owned),
            Segment::Zeros(length) => bytes.resize(bytes.len() + length, 0),
        }
    }
    bytes
}

/// Returns every name of a layer with what it is, as text: `dir`, `dir implied`,
/// `dir opaque`, `file CONTENTS`, `link TARGET`, `whiteout`, `lower TARGET`, `char`
/// and so on; ` x2` where the inode has two names.
fn listing(layer: &PackedLayer) -> BTreeMap<String, String> {
    let mut listing = BTreeMap::new();
    list(layer, PackedLayer::ROOT, "", &mut listing);
    listing
}

fn list(
    layer: &PackedLayer,
    directory: InodeIndex,
    path: &str,
    into: &mut BTreeMap<String, String>,
) {
    let mut last: Option<&[u8]> = None;
    for dentry in layer.directory(directory).unwrap().iter() {
        let dentry = dentry.unwrap();
        assert!(
            last.is_none_or(|last| last < dentry.name),
            "names are sorted"
        );
        last = Some(dentry.name);
        let found = layer
            .directory(directory)
            .unwrap()
            .find(dentry.name)
            .unwrap();
        assert_eq!(found, Some(dentry));
        let name = format!("{path}{}", dentry.name.escape_ascii());
        let text = describe(layer, dentry.target);
        into.insert(name.clone(), text);
        if let Target::Inode {
            index,
            file_type: FileType::Directory,
        } = dentry.target
        {
            assert_eq!(layer.parent(index).unwrap(), directory);
            assert_eq!(layer.path(index).escape_ascii().to_string(), name);
            list(layer, index, &format!("{name}/"), into);
        }
    }
}

use crate::FileType;

fn describe(layer: &PackedLayer, target: Target) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let (index, what) = match target {
        Target::Whiteout => return "whiteout".into(),
        Target::LowerLink(index) => (
            index,
            format!("lower {}", text(layer.lower_link(index).unwrap())),
        ),
        Target::Inode { index, file_type } => {
            assert_eq!(layer.inode(index).unwrap().file_type(), Some(file_type));
            let what = match file_type {
                FileType::Directory => "dir".into(),
                FileType::Regular => format!("file {}", text(&contents(layer, index))),
                FileType::Symlink => format!("link {}", text(layer.link_target(index).unwrap())),
                other => format!("{other:?}").to_lowercase(),
            };
            (index, what)
        }
    };
    let inode = layer.inode(index).unwrap();
    let implied = if inode.implied { " implied" } else { "" };
    let opaque = if inode.opaque { " opaque" } else { "" };
    let is_shared = inode.nlink > 1 && inode.file_type() != Some(FileType::Directory);
    let links = if is_shared {
        format!(" x{}", inode.nlink)
    } else {
        String::new()
    };
    format!("{what}{implied}{opaque}{links}")
        .trim_end()
        .to_owned()
}

/// Asserts that an archive makes a layer with these names and no others.
fn assert_listing(why: &str, archive: &[u8], expected: &[(&str, &str)]) {
    let built = build(archive).unwrap_or_else(|error| panic!("{why}: {error}"));
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(name, what)| ((*name).to_owned(), (*what).to_owned()))
        .collect();
    assert_eq!(listing(&built.layer), expected, "{why}");
}
