//! The beginning of a file.

use std::io::Read as _;

use mica_fuse::{Caller, Entry, Error, NodeId, Operation, Reply, Request, View, ViewOptions};
use rustix::io::Errno;

use super::ExploreError;
use crate::layers::{LayerPlan, Layers};
use crate::oci::DiffId;

/// Bytes of a file that are shown.
const BEGINNING: u64 = 16 << 10;

/// The beginning of a file, or what stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Preview {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
}

/// Returns the beginning of a file in the tree that layers make, which go lowest first.
pub(super) fn of_file(
    layers: &Layers,
    diff_ids: &[DiffId],
    path: &[u8],
) -> Result<Preview, ExploreError> {
    let plans: Vec<LayerPlan> = diff_ids
        .iter()
        .rev()
        .cloned()
        .map(LayerPlan::Packed)
        .collect();
    let view = View::open(layers.open_all(&plans)?, ViewOptions::default())?;
    let entry = find(&view, path)?;
    let title = printable(path);
    let lines = match entry.attr.mode & libc::S_IFMT {
        libc::S_IFREG => {
            let mut bytes = Vec::new();
            let reader = view.reader(entry.node)?;
            let mut reader = reader.take(BEGINNING.min(entry.attr.size));
            reader
                .read_to_end(&mut bytes)
                .map_err(ExploreError::Contents)?;
            text(&bytes)
        }
        libc::S_IFLNK => match ask(&view, entry.node, Operation::ReadLink)? {
            Reply::Bytes(target) => vec![format!("-> {}", printable(&target))],
            _ => Vec::new(),
        },
        _ => vec!["no regular file".to_owned()],
    };
    Ok(Preview { title, lines })
}

/// Returns bytes as text that does nothing to a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace('\t', "    ");
    text.replace(char::is_control, "?")
}

fn text(bytes: &[u8]) -> Vec<String> {
    if bytes.contains(&0) {
        return vec!["binary".to_owned()];
    }
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.map(printable).collect()
}

fn find(view: &View, path: &[u8]) -> Result<Entry, Error> {
    let mut node = NodeId::ROOT;
    let mut found = Err(Error::Refused(Errno::NOENT));
    for name in path.split(|byte| *byte == b'/') {
        let Reply::Entry(entry) = ask(view, node, Operation::Lookup { name })? else {
            return Err(Error::Refused(Errno::NOENT));
        };
        node = entry.node;
        found = Ok(entry);
    }
    found
}

fn ask<'v>(view: &'v View, node: NodeId, operation: Operation<'_>) -> Result<Reply<'v>, Error> {
    view.answer(&Request {
        node,
        caller: Caller::default(),
        operation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_do_nothing_to_a_terminal() {
        assert_eq!(text(b"a\tb\nc\x1b[31m\r"), ["a    b", "c?[31m?"]);
        assert_eq!(text(b"\x7fELF\0"), ["binary"]);
        assert_eq!(printable(b"\xff"), "\u{fffd}");
    }
}
