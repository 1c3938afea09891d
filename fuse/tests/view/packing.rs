//! Packed layers made by the real builder from tars written here.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use mica_fuse::{Builder, Layer, PackedLayer};

/// A tar in the making.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

/// One member of a tar, of a ustar type.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) path: &'a str,
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) link: &'a str,
    pub(crate) contents: &'a [u8],
}

impl Tar {
    pub(crate) fn file(self, path: &str, contents: &str) -> Self {
        let contents = contents.as_bytes();
        self.member(Member {
            path,
            kind: b'0',
            mode: 0o644,
            link: "",
            contents,
        })
    }

    pub(crate) fn directory(self, path: &str, mode: u32) -> Self {
        self.member(Member {
            path,
            kind: b'5',
            mode,
            link: "",
            contents: b"",
        })
    }

    pub(crate) fn hard_link(self, path: &str, link: &str, mode: u32) -> Self {
        self.member(Member {
            path,
            kind: b'1',
            mode,
            link,
            contents: b"",
        })
    }

    pub(crate) fn symlink(self, path: &str, link: &str) -> Self {
        self.member(Member {
            path,
            kind: b'2',
            mode: 0o777,
            link,
            contents: b"",
        })
    }

    /// Puts a PAX header with one attribute before the next member.
    pub(crate) fn xattr(self, name: &str, value: &str) -> Self {
        let record = format!(" SCHILY.xattr.{name}={value}\n");
        let length =
            (0..1000).find(|length: &usize| length.to_string().len() + record.len() == *length);
        let record = format!("{}{record}", length.unwrap());
        let contents = record.as_bytes();
        self.member(Member {
            path: "pax",
            kind: b'x',
            mode: 0o644,
            link: "",
            contents,
        })
    }

    pub(crate) fn member(mut self, member: Member<'_>) -> Self {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, member.path.as_bytes());
        put(
            100,
            format!("{:07o}\0{:07o}\0{:07o}\0", member.mode, 0, 0).as_bytes(),
        );
        put(
            124,
            format!("{:011o}\0{:011o}\0", member.contents.len(), 1_000_000_000).as_bytes(),
        );
        put(148, b"        ");
        put(156, &[member.kind]);
        put(157, member.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(member.contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Packs the layer into a directory.
    pub(crate) fn pack(self, directory: &Path, label: &str) -> Layer {
        let directory = directory.join(label);
        std::fs::create_dir(&directory).unwrap();
        let file = std::fs::File::open(directory).unwrap();
        let mut builder = Builder::new(file.as_fd(), label).unwrap();
        builder.push(&self.0).unwrap();
        builder.push(&[0; 1024]).unwrap();
        builder.finish().unwrap();
        Layer::Packed(Arc::new(PackedLayer::open(file.into(), label).unwrap()))
    }
}
