//! Writes tar archives: ustar headers, with PAX records for what does not fit.
//!
//! The bytes are those of Go's `archive/tar` in PAX format, in which containerd writes
//! layers: no names of owners, no times but that of modification, no record without
//! need, records sorted by their keys. Equal entries are equal bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use mica_fuse::Timestamp;

use super::tree::Xattrs;

const BLOCK: usize = 512;
/// Names that are longer need a PAX record; the field for a prefix is not used.
const NAME_FIELD: usize = 100;
/// Bytes of contents that are read at once.
const PIECE: usize = 256 * 1024;

/// What an entry is, as the header's type flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryType {
    Regular,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// All of an entry but its contents.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Relative; that of a directory ends with `/`.
    pub(super) path: Vec<u8>,
    pub(super) entry_type: EntryType,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes of contents, which only regular files have.
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    /// The target of a link, else empty.
    pub(super) link: Vec<u8>,
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    /// Extended attributes; the names have no `=`.
    pub(super) xattrs: Xattrs,
}

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct Archive<W> {
    output: W,
    piece: Vec<u8>,
}

/// Why contents could not be copied.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl EntryType {
    fn flag(self) -> u8 {
        match self {
            Self::Regular => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

impl<W: Write> Archive<W> {
    pub(super) fn new(output: W) -> Self {
        Self {
            output,
            piece: vec![0; PIECE],
        }
    }

    /// Writes the headers of an entry. Its contents come next.
    pub(super) fn header(&mut self, header: &Header) -> io::Result<()> {
        let records = pax_records(header);
        if !records.is_empty() {
            self.output.write_all(&pax_block(header, records.len())?)?;
            self.output.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.output.write_all(&block(header))
    }

    /// Writes the contents of an entry, of so many bytes.
    pub(super) fn contents(&mut self, mut reader: impl Read, size: u64) -> Result<(), CopyError> {
        let mut rest = size;
        while rest > 0 {
            let wanted = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
            let piece = self.piece.get_mut(..wanted).unwrap_or_default();
            reader.read_exact(piece).map_err(CopyError::Read)?;
            self.output.write_all(piece).map_err(CopyError::Write)?;
            rest -= wanted as u64;
        }
        self.pad(size).map_err(CopyError::Write)
    }

    /// Writes the end marker.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        match over {
            0 => Ok(()),
            over => self
                .output
                .write_all([0; BLOCK].get(over..).unwrap_or_default()),
        }
    }
}

/// Returns the records of what the header block cannot say.
fn pax_records(header: &Header) -> Vec<u8> {
    let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut put = |key: &str, value: Vec<u8>| records.insert(key.into(), value);
    for (key, name) in [("path", &header.path), ("linkpath", &header.link)] {
        if !fits_name(name) {
            put(key, name.clone());
        }
    }
    for (key, number, digits) in [
        ("uid", u64::from(header.uid), 7),
        ("gid", u64::from(header.gid), 7),
        ("size", header.size, 11),
    ] {
        if !fits_octal(number, digits) {
            put(key, number.to_string().into_bytes());
        }
    }
    if header.mtime.nanoseconds != 0 || whole_seconds(header.mtime).is_none() {
        put("mtime", decimal(header.mtime).into_bytes());
    }
    for (name, value) in &header.xattrs {
        records.insert([b"SCHILY.xattr.", &name[..]].concat(), value.clone());
    }
    records.iter().fold(Vec::new(), |mut all, (key, value)| {
        all.extend(record(key, value));
        all
    })
}

/// Returns a record, which begins with its own length.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + b" =\n".len();
    let mut length = rest;
    // The digits count too, and may make one more.
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Returns the header block of the records of an entry.
fn pax_block(header: &Header, size: usize) -> io::Result<[u8; BLOCK]> {
    if !fits_octal(size as u64, 11) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let path = header.path.strip_suffix(b"/").unwrap_or(&header.path);
    let cut = path.iter().rposition(|byte| *byte == b'/');
    let (directory, name) = path.split_at(cut.map_or(0, |slash| slash + 1));
    Ok(Fields {
        name: &[directory, b"PaxHeaders.0/", name].concat(),
        flag: b'x',
        size: size as u64,
        ..Fields::default()
    }
    .block())
}

fn block(header: &Header) -> [u8; BLOCK] {
    Fields {
        name: &header.path,
        mode: header.mode,
        uid: header.uid,
        gid: header.gid,
        size: header.size,
        mtime: whole_seconds(header.mtime).unwrap_or_default(),
        flag: header.entry_type.flag(),
        link: &header.link,
        device: header.device,
    }
    .block()
}

/// The fields of a header block.
#[derive(Default)]
struct Fields<'a> {
    name: &'a [u8],
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: u64,
    flag: u8,
    link: &'a [u8],
    device: (u32, u32),
}

impl Fields<'_> {
    fn block(&self) -> [u8; BLOCK] {
        let mut block = Vec::with_capacity(BLOCK);
        put_name(&mut block, self.name);
        put_octal(&mut block, self.mode.into(), 7);
        put_octal(&mut block, self.uid.into(), 7);
        put_octal(&mut block, self.gid.into(), 7);
        put_octal(&mut block, self.size, 11);
        put_octal(&mut block, self.mtime, 11);
        let checksum_at = block.len();
        block.extend(b"        ");
        block.push(self.flag);
        put_name(&mut block, self.link);
        block.extend(b"ustar\x0000");
        // The names of the owners.
        block.extend([0; 64]);
        put_octal(&mut block, self.device.0.into(), 7);
        put_octal(&mut block, self.device.1.into(), 7);
        block.resize(BLOCK, 0);
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        let mut whole = [0; BLOCK];
        for (to, from) in whole.iter_mut().zip(block) {
            *to = from;
        }
        let checksum = format!("{sum:06o}\0 ");
        for (to, from) in whole.iter_mut().skip(checksum_at).zip(checksum.bytes()) {
            *to = from;
        }
        whole
    }
}

/// Puts a name, or what fits of its ASCII where a record has the whole.
fn put_name(block: &mut Vec<u8>, name: &[u8]) {
    let end = block.len() + NAME_FIELD;
    block.extend(name.iter().filter(|byte| byte.is_ascii()).take(NAME_FIELD));
    block.resize(end, 0);
}

/// Puts a number, or 0 where a record has it.
fn put_octal(block: &mut Vec<u8>, number: u64, digits: usize) {
    let number = if fits_octal(number, digits) {
        number
    } else {
        0
    };
    block.extend(format!("{number:0digits$o}\0").bytes());
}

fn fits_octal(number: u64, digits: usize) -> bool {
    number >> (3 * digits) == 0
}

fn fits_name(name: &[u8]) -> bool {
    name.len() <= NAME_FIELD && name.is_ascii()
}

/// Returns the seconds of a time, where the header block can say them.
fn whole_seconds(time: Timestamp) -> Option<u64> {
    let seconds = u64::try_from(time.seconds).ok();
    seconds.filter(|seconds| fits_octal(*seconds, 11))
}

/// Returns a time as a decimal fraction of seconds.
fn decimal(time: Timestamp) -> String {
    let nanoseconds = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let nanoseconds = nanoseconds.unsigned_abs();
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    match rest {
        0 => format!("{sign}{seconds}"),
        rest => format!("{sign}{seconds}.{rest:09}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp {
            seconds,
            nanoseconds,
        }
    }

    fn header() -> Header {
        Header {
            path: b"file".to_vec(),
            entry_type: EntryType::Regular,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 3,
            mtime: time(4, 0),
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }

    #[test]
    fn times_are_decimal_fractions() {
        for (expected, time) in [
            ("0", time(0, 0)),
            ("1.5", time(1, 500_000_000)),
            ("1.000000001", time(1, 1)),
            ("-1.5", time(-2, 500_000_000)),
            ("-0.5", time(-1, 500_000_000)),
            ("-2", time(-2, 0)),
        ] {
            assert_eq!(decimal(time), expected);
        }
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for length in [1, 90, 91, 92, 93, 94, 990, 991, 992, 5000] {
            let record = record(b"key", &vec![b'v'; length]);
            let space = record.iter().position(|byte| *byte == b' ').unwrap();
            let said = std::str::from_utf8(&record[..space]).unwrap();
            assert_eq!(said.parse::<usize>().unwrap(), record.len(), "{length}");
        }
    }

    #[test]
    fn a_record_is_written_for_what_does_not_fit() {
        let long = vec![b'a'; 101];
        let plain = header();
        let of = |change: &dyn Fn(&mut Header)| {
            let mut header = plain.clone();
            change(&mut header);
            pax_records(&header)
        };
        let nothing = of(&|header| {
            header.path = vec![b'a'; 100];
            header.uid = 0o777_7777;
            header.size = 0o777_7777_7777;
            header.mtime = time(0o777_7777_7777, 0);
        });
        assert_eq!(nothing, b"");
        assert_eq!(
            of(&|header| header.path.clone_from(&long)),
            record(b"path", &long)
        );
        assert_eq!(
            of(&|header| header.path = b"\xff".to_vec()),
            record(b"path", b"\xff")
        );
        assert_eq!(
            of(&|header| header.link.clone_from(&long)),
            record(b"linkpath", &long)
        );
        assert_eq!(of(&|header| header.gid = 1 << 21), b"15 gid=2097152\n");
        assert_eq!(of(&|header| header.size = 1 << 33), b"19 size=8589934592\n");
        assert_eq!(
            of(&|header| header.mtime = time(4, 20)),
            b"20 mtime=4.00000002\n"
        );
        assert_eq!(of(&|header| header.mtime = time(-1, 0)), b"12 mtime=-1\n");
        let xattrs = of(&|header| {
            header.xattrs = vec![
                (b"user.b".into(), b"\0\n".into()),
                (b"user.a".into(), b"".into()),
            ];
        });
        let expected = [
            record(b"SCHILY.xattr.user.a", b""),
            record(b"SCHILY.xattr.user.b", b"\0\n"),
        ];
        assert_eq!(xattrs, expected.concat());
    }

    #[test]
    fn the_block_is_what_the_tar_crate_writes() {
        let mut theirs = tar::Header::new_ustar();
        theirs.set_path("file").unwrap();
        theirs.set_mode(0o644);
        theirs.set_uid(1);
        theirs.set_gid(2);
        theirs.set_size(3);
        theirs.set_mtime(4);
        theirs.set_entry_type(tar::EntryType::Char);
        theirs.set_device_major(5).unwrap();
        theirs.set_device_minor(6).unwrap();
        theirs.set_cksum();
        let ours = Header {
            entry_type: EntryType::CharDevice,
            device: (5, 6),
            ..header()
        };
        let ours = tar::Header::from_byte_slice(&block(&ours)).clone();
        assert_eq!(ours.cksum().unwrap(), theirs.cksum().unwrap());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn contents_are_padded_and_must_be_whole() {
        let mut archive = Archive::new(Vec::new());
        archive.header(&header()).unwrap();
        archive.contents(&b"abc"[..], 3).unwrap();
        assert!(matches!(
            archive.contents(&b"abc"[..], 4),
            Err(CopyError::Read(_))
        ));
        let mut archive = Archive::new(Vec::new());
        archive.header(&header()).unwrap();
        archive.contents(&b"abc"[..], 3).unwrap();
        assert_eq!(archive.finish().unwrap().len(), 4 * BLOCK);
    }
}
