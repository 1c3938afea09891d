//! Random lower layers, the lowest first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::names::{Kind, Laid, Names, name};
use crate::random::Random;
use crate::stack::{Made, Making};

/// Attributes that layers and operations give, with lists of both kinds among them.
pub(crate) const XATTRS: [(&str, &[u8]); 7] = [
    ("user.a", b"1"),
    ("user.b", b""),
    ("user.long", &[b'x'; 300]),
    ("trusted.a", b"root's"),
    ("trusted.overlayfoo", b"not overlayfs'"),
    ("system.posix_acl_access", &ACL),
    ("system.posix_acl_default", &ACL),
];

/// `u::rwx,u:1000:r-x,g::r-x,m::rwx,o::---` in the form of version 2.
const ACL: [u8; 44] = {
    let entries: [(u8, u8, u32); 5] = [
        (0x01, 7, u32::MAX),
        (0x02, 5, 1000),
        (0x04, 5, u32::MAX),
        (0x10, 7, u32::MAX),
        (0x20, 0, u32::MAX),
    ];
    let mut bytes = [0; 44];
    bytes[0] = 2;
    let mut at = 0;
    while at < entries.len() {
        let id = entries[at].2.to_le_bytes();
        bytes[4 + 8 * at] = entries[at].0;
        bytes[6 + 8 * at] = entries[at].1;
        let mut byte = 0;
        while byte < 4 {
            bytes[8 + 8 * at + byte] = id[byte];
            byte += 1;
        }
        at += 1;
    }
    bytes
};

/// Makes steps for so many layers, and tells the names that they show.
pub(crate) fn make(random: &mut Random, lowers: usize, names: &mut Names) -> Vec<Made> {
    let mut made = Vec::new();
    let mut below = BTreeSet::new();
    for layer in (0..lowers).rev() {
        let mut here = Vec::new();
        for _ in 0..4 + random.below(10) {
            push(random, layer, &below, &mut here);
        }
        below.extend(here.iter().map(|made| made.path.clone()));
        names.lay(&laid(&here));
        made.extend(here);
    }
    made
}

/// Returns what a layer has after these steps.
fn laid(here: &[Made]) -> BTreeMap<PathBuf, Laid> {
    let mut laid: BTreeMap<PathBuf, Laid> = BTreeMap::new();
    for Made { path, making, .. } in here {
        let is_below_directory = path.parent().is_none_or(|parent| {
            let directory = [Laid::Shown(Kind::Directory), Laid::Opaque];
            parent == Path::new("")
                || laid
                    .get(parent)
                    .is_some_and(|laid| directory.contains(laid))
        });
        let new = match making {
            Making::Directory => Laid::Shown(Kind::Directory),
            Making::File { .. } => Laid::Shown(Kind::File),
            Making::Symlink(_) | Making::Node(..) => Laid::Shown(Kind::Other),
            Making::Whiteout => Laid::Whiteout,
            Making::HardLink(target) => match laid.get(target) {
                Some(Laid::Shown(kind)) if *kind != Kind::Directory => Laid::Shown(*kind),
                _ => continue,
            },
            Making::Opaque if laid.get(path) == Some(&Laid::Shown(Kind::Directory)) => {
                laid.insert(path.clone(), Laid::Opaque);
                continue;
            }
            _ => continue,
        };
        if is_below_directory {
            laid.entry(path.clone()).or_insert(new);
        }
    }
    laid
}

/// Adds an object, with the directories above it and perhaps some attributes.
fn push(random: &mut Random, layer: usize, below: &BTreeSet<PathBuf>, here: &mut Vec<Made>) {
    let path = path(random, below, here);
    let making = making(random, &path, below, here);
    let step = |path: &Path, making| Made {
        layer,
        path: path.to_path_buf(),
        making,
    };
    let parents: Vec<_> = path
        .ancestors()
        .skip(1)
        .filter(|path| *path != Path::new(""))
        .collect();
    here.extend(
        parents
            .into_iter()
            .rev()
            .map(|path| step(path, Making::Directory)),
    );
    let is_whiteout = matches!(making, Making::Whiteout);
    if matches!(making, Making::Opaque) {
        here.push(step(&path, Making::Directory));
    }
    here.push(step(&path, making));
    if is_whiteout {
        return;
    }
    if random.chance(40) {
        let mode = random.pick(&[
            0o755, 0o700, 0o644, 0o444, 0o777, 0o1777, 0o4755, 0o2775, 0o2755,
        ]);
        here.push(step(&path, Making::Mode(mode)));
    }
    if random.chance(25) {
        let owner = random.pick(&[(1000, 1000), (0, 1000), (1001, 1001), (70_000, 70_001)]);
        here.push(step(&path, Making::Owner(owner.0, owner.1)));
    }
    if random.chance(25) {
        let (name, value) = random.pick(&XATTRS);
        here.push(step(&path, Making::Xattr(name, value)));
    }
}

/// Returns a path of up to three names, often one of a layer below.
fn path(random: &mut Random, below: &BTreeSet<PathBuf>, here: &[Made]) -> PathBuf {
    if !below.is_empty() && random.chance(40) {
        return below
            .iter()
            .nth(random.below(below.len()))
            .cloned()
            .unwrap_or_default();
    }
    let mut path = PathBuf::new();
    if !here.is_empty() && random.chance(50) {
        let beside = &random.pick(here).path;
        path.push(beside.parent().unwrap_or(Path::new("")));
    }
    for _ in 0..=random.below(2) {
        path.push(name(random));
    }
    path
}

fn making(random: &mut Random, path: &Path, below: &BTreeSet<PathBuf>, here: &[Made]) -> Making {
    match random.below(20) {
        // Elsewhere the kernel lists what it does not find.
        0..3 if below.contains(path) => Making::Whiteout,
        3..5 if below.contains(path) => Making::Opaque,
        0..5 => Making::Directory,
        5..9 if !here.is_empty() => Making::HardLink(random.pick(here).path),
        9..11 => Making::Symlink(PathBuf::from(name(random))),
        11 => Making::Node(FileType::Fifo, (0, 0)),
        12 => Making::Node(
            FileType::CharacterDevice,
            random.pick(&[(1, 3), (1, 5), (1, 7)]),
        ),
        13 => Making::Node(FileType::Socket, (0, 0)),
        _ => {
            let stride = random.pick(&[1 << 20, 65_536, 16_384]);
            Making::File {
                size: random.pick(&[0, 1, 100, 4096, 5000, 70_000, 300_000]),
                byte: random.byte(),
                data: random.pick(&[stride, stride, 4096]),
                stride,
            }
        }
    }
}
