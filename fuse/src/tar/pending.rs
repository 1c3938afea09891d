//! What the headers in front of an entry say of it, and the entry that they make
//! together with its own.

use super::header::{Header, text};
use super::pax::Extended;
use super::{Entry, EntryKind, TarFault};
use crate::Timestamp;

/// The headers that are no entries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meta {
    LongName,
    LongLink,
    Extended,
}

/// What earlier headers say of the next entry.
#[derive(Debug, Default)]
pub(super) struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pub(super) extended: Extended,
}

impl Pending {
    /// Returns whether an archive may end here.
    pub(super) fn is_empty(&self) -> bool {
        // An extended header at the end that nothing follows is harmless; a long
        // name tells of an entry that is missing.
        self.long_name.is_none() && self.long_link.is_none()
    }

    /// Takes the payload of a header.
    pub(super) fn take(&mut self, kind: Meta, payload: &[u8]) -> Result<(), TarFault> {
        match kind {
            Meta::LongName => self.long_name = long_name(payload),
            Meta::LongLink => self.long_link = long_name(payload),
            Meta::Extended => self.extended = Extended::parse(payload)?,
        }
        Ok(())
    }

    /// Returns the path of the entry.
    pub(super) fn name(&self, header: &Header<'_>) -> Vec<u8> {
        let sparse = &self.extended.sparse;
        let sparse_name = sparse
            .name
            .as_ref()
            .filter(|_| sparse.map_in_contents().is_some());
        let name = sparse_name
            .or(self.long_name.as_ref())
            .or(self.extended.path.as_ref());
        name.cloned().unwrap_or_else(|| header.name())
    }

    /// Returns the entry, its contents still unknown.
    pub(super) fn entry(
        &self,
        header: &Header<'_>,
        offset: u64,
        name: Vec<u8>,
    ) -> Result<Entry, TarFault> {
        let extended = &self.extended;
        let kind = kind(header.type_flag(), &name)?;
        let link = self.long_link.as_ref().or(extended.link.as_ref());
        let link = match kind {
            EntryKind::HardLink | EntryKind::Symlink => {
                link.cloned().unwrap_or_else(|| header.link().to_vec())
            }
            _ => Vec::new(),
        };
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let mtime = Timestamp {
            seconds: header.mtime()?,
            nanoseconds: 0,
        };
        let (uid, gid) = (header.uid()?, header.gid()?);
        Ok(Entry {
            offset,
            name,
            kind,
            mode: header.mode()?,
            uid: owner(extended.uid.unwrap_or(uid), "uid")?,
            gid: owner(extended.gid.unwrap_or(gid), "gid")?,
            mtime: extended.mtime.unwrap_or(mtime),
            size: 0,
            extents: Vec::new(),
            link,
            device: if is_device { header.device()? } else { (0, 0) },
            xattrs: extended.xattrs.clone(),
        })
    }
}

fn long_name(payload: &[u8]) -> Option<Vec<u8>> {
    let name = text(payload);
    (!name.is_empty()).then(|| name.to_vec())
}

fn kind(type_flag: u8, name: &[u8]) -> Result<EntryKind, TarFault> {
    Ok(match type_flag {
        // Before POSIX a directory was a file whose name ends in a slash.
        0 if name.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::Regular,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => return Err(TarFault::UnknownType(other)),
    })
}

/// Returns the owner that `chown` would make of a number: 32 bits, be they written
/// as signed or not; -1 is none and leaves root.
fn owner(number: i64, field: &'static str) -> Result<u32, TarFault> {
    let owner = match u32::try_from(number) {
        Ok(owner) => owner,
        Err(_) => i32::try_from(number)
            .map_err(|_| TarFault::Number { field })?
            .cast_unsigned(),
    };
    Ok(if owner == u32::MAX { 0 } else { owner })
}
