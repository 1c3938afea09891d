//! Packs entries of a directory as READDIR and READDIRPLUS want them.

use zerocopy::IntoBytes;

use super::abi;
use super::encode::{Validity, entry_out};
use crate::{DirEntry, Listing, Result};

/// Appends entries to `out` until the next would exceed `room` bytes, with their nodes if it
/// is said how long these are valid.
///
/// An error in the listing after the first entry ends this part of it; the kernel
/// asks on from there and meets the error again, so nothing is lost silently.
pub(crate) fn pack(
    listing: Listing<'_>,
    with_nodes: Option<Validity>,
    room: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let start = out.len();
    for entry in listing.entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(_) if out.len() > start => return Ok(()),
            Err(error) => return Err(error),
        };
        if out.len() - start + record_length(entry.name.len(), with_nodes.is_some()) > room {
            // The kernel will never forget what it did not get.
            if let Some(node) = &entry.entry {
                (listing.give_back)(node);
            }
            return Ok(());
        }
        push_record(&entry, with_nodes, out);
    }
    Ok(())
}

fn record_length(name: usize, with_nodes: bool) -> usize {
    let node = if with_nodes {
        size_of::<abi::EntryOut>()
    } else {
        0
    };
    // FUSE_DIRENT_ALIGN: records start at multiples of eight bytes.
    (node + size_of::<abi::Dirent>() + name).next_multiple_of(8)
}

fn push_record(entry: &DirEntry<'_>, with_nodes: Option<Validity>, out: &mut Vec<u8>) {
    let end = out.len() + record_length(entry.name.len(), with_nodes.is_some());
    if let Some(validity) = with_nodes {
        // A node number of 0 tells the kernel that there is no look-up in this record.
        let node = entry
            .entry
            .as_ref()
            .map_or_else(abi::EntryOut::default, |entry| entry_out(entry, validity));
        out.extend_from_slice(node.as_bytes());
    }
    let dirent = abi::Dirent {
        ino: entry.ino.0,
        off: entry.next,
        namelen: u32::try_from(entry.name.len()).unwrap_or(u32::MAX),
        file_type: entry.file_type.dirent_type(),
    };
    out.extend_from_slice(dirent.as_bytes());
    out.extend_from_slice(&entry.name);
    out.resize(end, 0);
}
