//! Writes archives for tests, good ones and bad ones.

use super::header::BLOCK;

/// An archive in the course of being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

/// The fields of a header block that tests set.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) type_flag: u8,
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) device: (u32, u32),
    /// The size in the header, if it is not that of the contents.
    pub(crate) size: Option<u64>,
    pub(crate) magic: &'a [u8; 8],
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self {
            type_flag: b'0',
            name: b"",
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            device: (0, 0),
            size: None,
            magic: b"ustar\x0000",
        }
    }
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends a header and contents.
    pub(crate) fn entry(mut self, fields: &Fields<'_>, contents: &[u8]) -> Self {
        let mut block = header(fields, contents.len());
        seal(&mut block);
        self.bytes.extend(block);
        self.padded(contents)
    }

    /// Appends bytes, filled up to a whole block.
    pub(crate) fn padded(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// Appends an extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&[u8], &[u8])]) -> Self {
        let payload: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key, value))
            .collect();
        self.entry(
            &Fields {
                type_flag: b'x',
                name: b"PaxHeader",
                ..Fields::default()
            },
            &payload,
        )
    }

    /// Appends a GNU long name (`L`) or long link (`K`) for the next entry.
    pub(crate) fn long(self, type_flag: u8, name: &[u8]) -> Self {
        let fields = Fields {
            type_flag,
            name: b"././@LongLink",
            magic: b"ustar  \0",
            ..Fields::default()
        };
        self.entry(&fields, &[name, b"\0"].concat())
    }

    pub(crate) fn file(self, name: &str, contents: &[u8]) -> Self {
        self.entry(
            &Fields {
                name: name.as_bytes(),
                ..Fields::default()
            },
            contents,
        )
    }

    pub(crate) fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(
            &Fields {
                type_flag: b'5',
                name: name.as_bytes(),
                mode,
                ..Fields::default()
            },
            b"",
        )
    }

    pub(crate) fn symlink(self, target: &str, name: &str) -> Self {
        self.link_of(b'2', target, name)
    }

    pub(crate) fn link(self, target: &str, name: &str) -> Self {
        self.link_of(b'1', target, name)
    }

    fn link_of(self, type_flag: u8, target: &str, name: &str) -> Self {
        let (name, link) = (name.as_bytes(), target.as_bytes());
        self.entry(
            &Fields {
                type_flag,
                name,
                link,
                ..Fields::default()
            },
            b"",
        )
    }

    /// Appends the end marker and returns the archive.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK]).bytes
    }

    /// Returns the archive without an end marker.
    pub(crate) fn unended(self) -> Vec<u8> {
        self.bytes
    }
}

/// Returns a header block without its checksum.
pub(crate) fn header(fields: &Fields<'_>, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, fields.name);
    put(100, format!("{:07o}\0", fields.mode).as_bytes());
    put(108, format!("{:07o}\0", fields.uid).as_bytes());
    put(116, format!("{:07o}\0", fields.gid).as_bytes());
    put(
        124,
        format!("{:011o}\0", fields.size.unwrap_or(size as u64)).as_bytes(),
    );
    if let Ok(mtime) = u64::try_from(fields.mtime) {
        put(136, format!("{mtime:011o}\0").as_bytes());
    } else {
        put(136, &[0xff; 4]);
        put(140, &fields.mtime.to_be_bytes());
    }
    put(156, &[fields.type_flag]);
    put(157, fields.link);
    put(257, fields.magic);
    if fields.magic != &[0; 8] {
        put(329, format!("{:07o}\0", fields.device.0).as_bytes());
        put(337, format!("{:07o}\0", fields.device.1).as_bytes());
    }
    block
}

/// Sets the checksum of a header block.
pub(crate) fn seal(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Returns a PAX record.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
