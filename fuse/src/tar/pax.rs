//! PAX extended headers: records of `length key=value\n`.
//!
//! An empty value takes a key back. Only an extended attribute may be empty.

use super::number::{decimal, time};
use super::sparse::Region;
use super::{TarFault, Xattr};
use crate::Timestamp;

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// `XATTR_NAME_MAX` and `XATTR_SIZE_MAX` of the kernel.
const XATTR_NAME_LIMIT: usize = 255;
const XATTR_VALUE_LIMIT: usize = 65536;
/// The attributes that one entry may have; the kernel lists fewer.
pub(crate) const XATTR_LIMIT: usize = 4096;

/// What the extended header of an entry says.
#[derive(Debug, Default)]
pub(crate) struct Extended {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<i64>,
    pub(crate) gid: Option<i64>,
    pub(crate) mtime: Option<Timestamp>,
    pub(crate) xattrs: Vec<Xattr>,
    pub(crate) sparse: PaxSparse,
}

/// The `GNU.sparse.*` records.
#[derive(Debug, Default)]
pub(crate) struct PaxSparse {
    pub(crate) version: (Option<i64>, Option<i64>),
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) count: Option<i64>,
    pub(crate) map: Vec<Region>,
    /// A 0.0 offset that waits for its length.
    half: Option<u64>,
}

impl Extended {
    /// Reads all records of one extended header.
    pub(crate) fn parse(mut payload: &[u8]) -> Result<Self, TarFault> {
        let mut extended = Self::default();
        while !payload.is_empty() {
            let (key, value, rest) = record(payload).ok_or(TarFault::PaxRecord)?;
            extended.take(key, value)?;
            payload = rest;
        }
        match extended.sparse.half {
            None => Ok(extended),
            Some(_) => Err(TarFault::Sparse("offset without a length")),
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarFault> {
        match key {
            b"path" => self.path = name(value)?,
            b"linkpath" => self.link = name(value)?,
            b"size" => self.size = size(value, "size")?,
            b"uid" => self.uid = number(value, "uid")?,
            b"gid" => self.gid = number(value, "gid")?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or(TarFault::Number { field: "mtime" })?),
            _ if key.starts_with(b"GNU.sparse.") => self.sparse.take(&key[11..], value)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    self.take_xattr(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn take_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), TarFault> {
        let is_name = !name.is_empty() && name.len() <= XATTR_NAME_LIMIT && !name.contains(&0);
        if !is_name || value.len() > XATTR_VALUE_LIMIT || self.xattrs.len() >= XATTR_LIMIT {
            return Err(TarFault::Xattr);
        }
        self.xattrs.retain(|xattr| xattr.name != name);
        self.xattrs.push(Xattr {
            name: name.to_vec(),
            value: value.to_vec(),
        });
        Ok(())
    }
}

impl PaxSparse {
    /// Returns whether the records describe a sparse file, and whether its map
    /// stands in front of its contents (format 1.0) or in the records (0.0, 0.1).
    pub(crate) fn map_in_contents(&self) -> Option<bool> {
        match self.version {
            (Some(1), Some(0)) => Some(true),
            (Some(0), Some(0 | 1)) => Some(false),
            (None, None) if !self.map.is_empty() || self.count.is_some() => Some(false),
            _ => None,
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarFault> {
        match key {
            b"major" => self.version.0 = number(value, "GNU.sparse.major")?,
            b"minor" => self.version.1 = number(value, "GNU.sparse.minor")?,
            b"name" => self.name = name(value)?,
            b"size" | b"realsize" => self.size = size(value, "GNU.sparse.size")?,
            b"numblocks" => self.count = number(value, "GNU.sparse.numblocks")?,
            b"map" => self.map = map(value)?,
            b"offset" => {
                let offset = size(value, "GNU.sparse.offset")?;
                if self.half.is_some() || offset.is_none() {
                    return Err(TarFault::Sparse("offset without a length"));
                }
                self.half = offset;
            }
            b"numbytes" => {
                let length = size(value, "GNU.sparse.numbytes")?;
                let (Some(offset), Some(length)) = (self.half.take(), length) else {
                    return Err(TarFault::Sparse("length without an offset"));
                };
                self.map.push(Region { offset, length });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Splits the first record off.
fn record(payload: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = payload.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&payload[..space])?).ok()?;
    let (record, rest) = payload.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = record.split_at(equals);
    (!key.is_empty()).then_some((key, &value[1..], rest))
}

fn name(value: &[u8]) -> Result<Option<Vec<u8>>, TarFault> {
    if value.contains(&0) {
        return Err(TarFault::NulInName);
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn number(value: &[u8], field: &'static str) -> Result<Option<i64>, TarFault> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value).map(Some).ok_or(TarFault::Number { field })
}

fn size(value: &[u8], field: &'static str) -> Result<Option<u64>, TarFault> {
    let size = number(value, field)?;
    size.map(u64::try_from)
        .transpose()
        .map_err(|_| TarFault::Number { field })
}

/// Reads a map of format 0.1: `offset,length,offset,length`.
fn map(value: &[u8]) -> Result<Vec<Region>, TarFault> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let mut regions = Vec::new();
    let mut numbers = value.split(|byte| *byte == b',');
    while let Some(offset) = numbers.next() {
        let (Some(offset), Some(length)) = (
            size(offset, "GNU.sparse.map")?,
            size(numbers.next().unwrap_or_default(), "GNU.sparse.map")?,
        ) else {
            return Err(TarFault::Sparse("offset without a length"));
        };
        regions.push(Region { offset, length });
    }
    Ok(regions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::archive::record as encode;

    #[test]
    fn malformed_records_are_refused() {
        let cases: &[(&str, &[u8], TarFault)] = &[
            ("no length", b"path=a\n", TarFault::PaxRecord),
            ("too long", b"99 path=a\n", TarFault::PaxRecord),
            ("too short", b"3 path=a\n", TarFault::PaxRecord),
            ("zero", b"0 path=a\n", TarFault::PaxRecord),
            ("negative", b"-9 path=a\n", TarFault::PaxRecord),
            ("no newline", b"10 path=ab", TarFault::PaxRecord),
            ("no equals sign", b"9 path a\n", TarFault::PaxRecord),
            ("no key", b"5 =a\n", TarFault::PaxRecord),
            (
                "huge length",
                b"99999999999999999999 a=b\n",
                TarFault::PaxRecord,
            ),
            ("NUL in path", b"12 path=a\0b\n", TarFault::NulInName),
            (
                "negative size",
                b"11 size=-1\n",
                TarFault::Number { field: "size" },
            ),
            (
                "size is text",
                b"10 size=x\n",
                TarFault::Number { field: "size" },
            ),
        ];
        for (why, payload, expected) in cases {
            assert_eq!(
                Extended::parse(payload).map(|_| ()),
                Err(expected.clone()),
                "{why}"
            );
        }
        let half = encode(b"GNU.sparse.offset", b"5");
        assert!(matches!(Extended::parse(&half), Err(TarFault::Sparse(_))));
        let odd = encode(b"GNU.sparse.map", b"1,2,3");
        assert!(matches!(Extended::parse(&odd), Err(TarFault::Sparse(_))));
        let long = encode(b"SCHILY.xattr.user.a", &b"x".repeat(XATTR_VALUE_LIMIT + 1));
        assert_eq!(Extended::parse(&long).map(|_| ()), Err(TarFault::Xattr));
    }

    #[test]
    fn an_empty_value_takes_a_key_back() {
        let payload = [
            encode(b"path", b"a"),
            encode(b"path", b""),
            encode(b"uid", b""),
        ]
        .concat();
        let extended = Extended::parse(&payload).unwrap();
        assert_eq!((extended.path, extended.uid), (None, None));
    }

    #[test]
    fn attributes_are_binary_and_the_last_one_counts() {
        let value = b"\0\n= 12 a=b\n\xff";
        let payload = [
            encode(b"SCHILY.xattr.user.k", b"old"),
            encode(b"SCHILY.xattr.user.empty", b""),
            encode(b"SCHILY.acl.access", b"ignored"),
            encode(b"SCHILY.xattr.user.k", value),
        ]
        .concat();
        let xattrs = Extended::parse(&payload).unwrap().xattrs;
        let xattrs: Vec<_> = xattrs
            .iter()
            .map(|xattr| (&xattr.name[..], &xattr.value[..]))
            .collect();
        assert_eq!(xattrs, [(&b"user.empty"[..], &b""[..]), (b"user.k", value)]);
    }
}
