//! A damaged or hostile index is an error, never a panic and never read out of
//! bounds.

use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::Whence;
use crate::layer::packed::format::{Header, SectionRecord};
use crate::layer::packed::writer::checksum;
use crate::tar::archive::Archive;

fn archive() -> Vec<u8> {
    Archive::new()
        .pax(&[
            (b"SCHILY.xattr.user.a", b"1"),
            (b"SCHILY.xattr.user.b", b"2"),
        ])
        .dir("d", 0o755)
        .file("d/f", b"hello")
        .pax(&[
            (b"GNU.sparse.size", b"10000"),
            (b"GNU.sparse.map", b"0,2,9000,3"),
        ])
        .file("d/sparse", b"abcde")
        .symlink("d/f", "s")
        .link("d/f", "h")
        .link("lower", "l")
        .file(".wh.w", b"")
        .end()
}

fn index(built: &Built) -> Vec<u8> {
    std::fs::read(built.dir.path().join(INDEX)).unwrap()
}

fn reopen(built: &Built, index: &[u8]) -> Result<PackedLayer> {
    std::fs::write(built.dir.path().join(INDEX), index).unwrap();
    PackedLayer::open(File::open(built.dir.path()).unwrap().into(), "test")
}

/// Makes all checksums of an index right, as far as its table can be read.
fn seal(index: &mut [u8]) {
    let Ok((header, rest)) = Header::read_from_prefix(index) else {
        return;
    };
    let table_end = rest.len().min(6 * size_of::<SectionRecord>());
    let mut table = rest[..table_end].to_vec();
    for row in table.chunks_exact_mut(size_of::<SectionRecord>()) {
        let (record, _) = SectionRecord::mut_from_prefix(row).unwrap();
        let range = usize::try_from(record.offset.get()).ok().and_then(|start| {
            Some(start..start.checked_add(usize::try_from(record.length.get()).ok()?)?)
        });
        if let Some(bytes) = range.and_then(|range| index.get(range)) {
            record.checksum.set(crc32fast::hash(bytes));
        }
    }
    let mut header = header;
    header.checksum.set(checksum(&header, &table));
    index[..64].copy_from_slice(header.as_bytes());
    index[64..64 + table_end].copy_from_slice(&table);
}

/// Calls everything for every inode; only `Corrupt` and refusals may come back.
fn exercise(layer: &PackedLayer) {
    fn check<T>(result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Error::Corrupt { .. } | Error::Refused(_)) => None,
            Err(error) => panic!("{error:?}"),
        }
    }
    for index in (0..layer.inodes()).map(InodeIndex) {
        check(layer.inode(index));
        check(layer.parent(index));
        check(layer.link_target(index));
        check(layer.lower_link(index));
        check(layer.read(index, 0, 1 << 20));
        check(layer.read(index, 5, usize::MAX));
        check(layer.seek(index, 1, Whence::Data));
        check(layer.seek(index, 1, Whence::Hole));
        check(layer.will_need(index));
        layer.path(index);
        for xattr in check(layer.xattrs(index)).into_iter().flatten() {
            check(xattr);
        }
        if let Some(dentries) = check(layer.directory(index)) {
            for dentry in dentries.iter() {
                check(dentry);
            }
            check(dentries.find(b"f"));
        }
    }
    for index in layer.lower_links() {
        check(layer.lower_link(index));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let built = build(&archive()).unwrap();
    let good = index(&built);
    let sections = <[SectionRecord]>::ref_from_bytes(&good[64..64 + 6 * 32]).unwrap();
    let mut is_checked = vec![false; good.len()];
    is_checked[..64 + 6 * 32].fill(true);
    for section in sections {
        let start = usize::try_from(section.offset.get()).unwrap();
        is_checked[start..][..usize::try_from(section.length.get()).unwrap()].fill(true);
    }
    for at in (0..good.len()).filter(|at| is_checked[*at]) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(
            matches!(reopen(&built, &bad), Err(Error::Corrupt { .. })),
            "byte {at}"
        );
    }
    assert!(reopen(&built, &good).is_ok());
}

#[test]
fn cut_extended_and_newer_indexes_are_refused() {
    let built = build(&archive()).unwrap();
    let good = index(&built);
    let reason = |index: &[u8]| match reopen(&built, index) {
        Err(Error::Corrupt { layer, reason }) => format!("{layer}: {reason}"),
        other => panic!("{other:?}"),
    };
    for length in [0, 1, 63, 64, 100, good.len() - 1] {
        reason(&good[..length]);
    }
    reason(&[&good[..], b"x"].concat());
    let mut newer = good.clone();
    newer[8] = 2;
    seal(&mut newer);
    assert_eq!(
        reason(&newer),
        "test: index has version 2, this program reads 1"
    );
    let mut required = good.clone();
    required[64 + 32..64 + 36].copy_from_slice(&0x8000_0007u32.to_le_bytes());
    seal(&mut required);
    assert_eq!(
        reason(&required),
        "test: section 2147483655 is of a newer version"
    );
}

#[test]
fn an_index_of_other_data_does_not_match() {
    let built = build(&archive()).unwrap();
    let path = built.dir.path().join(DATA);
    let other = Archive::new().file("f", b"x").end();
    std::fs::write(&path, other).unwrap();
    let mut seen = 0;
    assert!(
        !built
            .layer
            .matches_data(|bytes| seen += bytes.len())
            .unwrap()
    );
    assert_eq!(seen, 2048);
    let built = build(&archive()).unwrap();
    let mut bad = index(&built);
    let mode = bad.len() - 1;
    bad[mode] ^= 1;
    if let Ok(layer) = reopen(&built, &bad) {
        assert!(!layer.matches_data(|_| {}).unwrap(), "padding counts too");
    }
}

#[test]
fn damage_is_reported_with_the_path() {
    let built = build(&archive()).unwrap();
    let mut bad = index(&built);
    let found = |layer: &PackedLayer| {
        (0..layer.inodes())
            .map(InodeIndex)
            .find(|index| layer.path(*index) == b"d/sparse")
    };
    let number = found(&built.layer).unwrap().0 as usize;
    // The number of extents of the sparse file.
    let at = 64 + 6 * 32 + number * 48 + 44;
    bad[at] = 0xff;
    seal(&mut bad);
    let layer = reopen(&built, &bad).unwrap();
    let error = layer
        .read(InodeIndex(u32::try_from(number).unwrap()), 0, 10)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer test: extents lie outside the index: /d/sparse"
    );
}

proptest! {
    #[test]
    fn hostile_indexes_do_no_harm(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let built = build(&archive()).unwrap();
        let mut bad = index(&built);
        for (at, byte) in edits {
            let at = at.index(bad.len());
            bad[at] = byte;
        }
        seal(&mut bad);
        match reopen(&built, &bad) {
            Ok(layer) => exercise(&layer),
            Err(Error::Corrupt { .. } | Error::Refused(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}
