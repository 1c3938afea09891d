//! The table of contents of a tar archive: where each member lies, so that it can be read in
//! place. Nothing is extracted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::EntryType;

use super::error::SourceError;
use super::files::no_member;
use super::section::{Place, Section, compression_of};

/// How many bytes of headers and long names are read, which bounds the memory for the table.
const MOST_HEADER_BYTES: u64 = 64 << 20;

/// How many links are followed from a name to its file.
const MOST_LINKS: usize = 8;

/// A tar archive whose members are known.
#[derive(Debug)]
pub(super) struct Archive {
    path: Arc<PathBuf>,
    file: Arc<File>,
    members: HashMap<String, Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// Another name, complete.
    Link(String),
}

impl Archive {
    /// Opens an archive and reads its headers.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Io {
            operation: "read",
            path: path.to_owned(),
            source,
        };
        Self::read(path, File::open(path).map_err(failed)?)
    }

    /// Reads the headers of an archive that is open, and that messages call by a path.
    pub(super) fn read(path: &Path, file: File) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Io {
            operation: "read",
            path: path.to_owned(),
            source,
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(SourceError::Invalid {
                path: path.to_owned(),
                kind: "tar archive",
                reason: "it is no regular file".to_owned(),
            });
        }
        let path = Arc::new(path.to_owned());
        let file = Arc::new(file);
        let whole = Section {
            path: Arc::clone(&path),
            member: String::new(),
            bytes: Place::File(Arc::clone(&file), 0),
            size: metadata.len(),
        };
        if let Some(compression) = compression_of(&whole.magic()?) {
            return Err(SourceError::Compressed {
                path: path.to_path_buf(),
                compression,
            });
        }
        let members = scan(&file, metadata.len()).map_err(failed)?;
        Ok(Self {
            path,
            file,
            members,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Finds a member, through links.
    pub(super) fn member(&self, name: &str) -> Result<Section, SourceError> {
        let (offset, size) =
            find(&self.members, name).ok_or_else(|| no_member(&self.path, name))?;
        Ok(Section {
            path: Arc::clone(&self.path),
            member: name.to_owned(),
            bytes: Place::File(Arc::clone(&self.file), offset),
            size,
        })
    }
}

/// Reads all headers. Of members with the same name the last counts, as for tar.
fn scan(file: &Arc<File>, length: u64) -> io::Result<HashMap<String, Member>> {
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(Headers {
        file: Arc::clone(file),
        position: 0,
        left: MOST_HEADER_BYTES,
    });
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Some(name) = normal_name("", &entry.path_bytes()) else {
            continue;
        };
        let target = entry.link_name_bytes();
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        let member = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("the archive ends within {name}"),
                    ));
                }
                Some(Member::File { offset, size })
            }
            EntryType::Link => target
                .and_then(|target| normal_name("", &target))
                .map(Member::Link),
            EntryType::Symlink => target
                .and_then(|target| normal_name(directory, &target))
                .map(Member::Link),
            _ => None,
        };
        members.extend(member.map(|member| (name, member)));
    }
    Ok(members)
}

/// Returns a path without `.` and `..`, seen from `directory`; nothing for one that leads out of
/// the archive or that is not text.
fn normal_name(directory: &str, path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn find(members: &HashMap<String, Member>, name: &str) -> Option<(u64, u64)> {
    let mut name = normal_name("", name.as_bytes())?;
    for _ in 0..=MOST_LINKS {
        match members.get(&name)? {
            Member::File { offset, size } => return Some((*offset, *size)),
            Member::Link(target) => name.clone_from(target),
        }
    }
    None
}

/// The headers of an archive: whatever is read must be few bytes, whatever is passed over may be
/// many.
struct Headers {
    file: Arc<File>,
    position: u64,
    left: u64,
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the archive has too many or too long headers",
            )
        })?;
        Ok(count)
    }
}

impl Seek for Headers {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(_) => None,
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let cases = [
            ("", "./blobs//sha256/a", Some("blobs/sha256/a")),
            ("", "/index.json", Some("index.json")),
            ("a", "../b/layer.tar", Some("b/layer.tar")),
            ("a/b", "..", Some("a")),
            ("a", "../../etc/passwd", None),
            ("", "..", None),
            ("", "./", None),
        ];
        for (directory, path, expected) in cases {
            let found = normal_name(directory, path.as_bytes());
            assert_eq!(found.as_deref(), expected, "{directory} {path}");
        }
        assert_eq!(normal_name("", b"\xff"), None);
    }

    #[test]
    fn links_are_followed_but_not_for_ever() {
        let link = |name: &str, target: &str| (name.to_owned(), Member::Link(target.to_owned()));
        let members = HashMap::from([
            (
                "a".to_owned(),
                Member::File {
                    offset: 512,
                    size: 3,
                },
            ),
            link("b", "a"),
            link("c", "b"),
            link("x", "y"),
            link("y", "x"),
            link("z", "missing"),
        ]);
        assert_eq!(find(&members, "c"), Some((512, 3)));
        assert_eq!(find(&members, "./d/../c"), Some((512, 3)));
        for name in ["x", "z", "missing", "../a"] {
            assert_eq!(find(&members, name), None, "{name}");
        }
    }

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Archive, SourceError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Archive::open(file.path())
    }

    #[test]
    fn members_are_read_in_place() {
        let long = "d/".repeat(100) + "x";
        let opened = open(&archive(&[
            ("a", b"old"),
            ("b", b""),
            (&long, b"long"),
            ("a", b"new"),
        ]))
        .unwrap();
        for (name, expected) in [("a", "new"), ("b", ""), (long.as_str(), "long")] {
            let section = opened.member(name).unwrap();
            assert_eq!(section.read_all(10).unwrap(), expected, "{name}");
        }
        assert!(matches!(
            opened.member("c"),
            Err(SourceError::NoMember { .. })
        ));
        let too_large = opened.member("a").unwrap().read_all(2);
        assert!(matches!(
            too_large,
            Err(SourceError::TooLarge { size: 3, .. })
        ));
    }

    #[test]
    fn bad_archives_are_refused() {
        let good = archive(&[("a", &[7; 2000])]);
        assert!(matches!(open(&good[..1500]), Err(SourceError::Io { .. })));
        assert!(matches!(
            open(b"\x1f\x8b\x08\0rest"),
            Err(SourceError::Compressed { .. })
        ));
        assert!(matches!(open(&[b'x'; 1024]), Err(SourceError::Io { .. })));
    }

    #[test]
    fn a_long_name_without_end_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_path("././@LongLink").unwrap();
        header.set_cksum();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), header.as_bytes()).unwrap();
        file.as_file().set_len(1 << 41).unwrap();
        let error = Archive::open(file.path()).unwrap_err();
        assert!(matches!(error, SourceError::Io { .. }), "{error}");
    }
}
