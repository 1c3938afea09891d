//! The lists of extended attributes, each kept once.

use std::collections::HashMap;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::format::XattrRecord;
use super::strings::{StringRef, Strings};
use crate::tar::{TarFault, XATTR_LIMIT, Xattr};

/// All lists of a layer, one after the other, as the section holds them.
#[derive(Debug, Default)]
pub(super) struct XattrTable {
    records: Vec<XattrRecord>,
    known: HashMap<Vec<u8>, u32>,
}

impl XattrTable {
    /// Returns the list that is `list` with `xattrs` added, and set where they were
    /// in it. Lists are numbered as in an inode record: 0 is the empty one.
    pub(super) fn add(
        &mut self,
        list: u32,
        xattrs: &[Xattr],
        strings: &mut Strings,
    ) -> Result<u32, TarFault> {
        let mut all: Vec<(StringRef, StringRef)> = self.list(list);
        for xattr in xattrs {
            let (name, value) = (strings.add(&xattr.name)?, strings.add(&xattr.value)?);
            all.retain(|known| known.0 != name);
            all.push((name, value));
        }
        if all.len() > XATTR_LIMIT {
            return Err(TarFault::Xattr);
        }
        all.sort_by(|a, b| strings.bytes_of(a.0).cmp(strings.bytes_of(b.0)));
        let end = all.len().saturating_sub(1);
        let records: Result<Vec<_>, _> = all
            .iter()
            .enumerate()
            .map(|(index, xattr)| record(*xattr, index == end))
            .collect();
        self.intern(&records?)
    }

    /// Returns the section.
    pub(super) fn bytes(&self) -> &[u8] {
        self.records.as_bytes()
    }

    fn intern(&mut self, records: &[XattrRecord]) -> Result<u32, TarFault> {
        if let Some(known) = self.known.get(records.as_bytes()) {
            return Ok(*known);
        }
        let list = u32::try_from(self.records.len() + 1).map_err(|_| TarFault::TooLarge)?;
        self.records.extend_from_slice(records);
        self.known.insert(records.as_bytes().to_vec(), list);
        Ok(list)
    }

    fn list(&self, list: u32) -> Vec<(StringRef, StringRef)> {
        let Some(first) = list.checked_sub(1) else {
            return Vec::new();
        };
        let records = self.records.get(first as usize..).unwrap_or_default();
        let count = records
            .iter()
            .position(|record| record.is_last != 0)
            .map_or(0, |last| last + 1);
        records.iter().take(count).map(strings_of).collect()
    }
}

fn strings_of(record: &XattrRecord) -> (StringRef, StringRef) {
    let name = StringRef {
        offset: record.name.get(),
        length: u32::from(record.name_length),
    };
    let value = StringRef {
        offset: record.value.get(),
        length: record.value_length.get(),
    };
    (name, value)
}

fn record((name, value): (StringRef, StringRef), is_last: bool) -> Result<XattrRecord, TarFault> {
    Ok(XattrRecord {
        name: U32::new(name.offset),
        value: U32::new(value.offset),
        value_length: U32::new(value.length),
        name_length: u8::try_from(name.length).map_err(|_| TarFault::Xattr)?,
        is_last: u8::from(is_last),
        reserved: [0; 2],
    })
}
