//! Random operations.

use std::path::PathBuf;

use rustix::fs::{FallocateFlags, FileType, OFlags, RenameFlags, XattrFlags};

use super::layers::XATTRS;
use crate::names::{Kind, Names, name};
use crate::operation::{Change, Look, Octal, Operation, Place, SLOTS, Step, Target, Time, Who};
use crate::random::Random;

const OFFSETS: [u64; 9] = [0, 1, 100, 4095, 4096, 5000, 65_536, 131_000, 290_000];
const LENGTHS: [u64; 7] = [0, 1, 10, 4096, 4097, 40_000, 140_000];
const MODES: [u32; 10] = [
    0o644, 0o600, 0o666, 0o755, 0o777, 0o400, 0, 0o4755, 0o2775, 0o1777,
];

/// Makes a step, and tells the names what it changes.
pub(crate) fn step(random: &mut Random, names: &mut Names) -> Step {
    let who = if random.chance(80) {
        Who::ROOT
    } else {
        Who {
            id: random.pick(&[0, 1000, 1000, 1001]),
            umask: Octal(random.pick(&[0, 0o002, 0o077])),
        }
    };
    let operation = operation(random, names);
    if who.id == 0 {
        learn(names, &operation);
    }
    Step { who, operation }
}

fn operation(random: &mut Random, names: &Names) -> Operation {
    match random.below(1000) {
        0..140 => open(random, names),
        140..360 => on_open(random, names),
        360..520 => Operation::Change {
            target: target(random, names),
            change: change(random),
        },
        520..650 => look(random, names),
        650..990 => on_names(random, names),
        990..994 => Operation::DropCaches,
        _ => Operation::Remount,
    }
}

/// Returns a place of something that is there, now and then from an open directory.
fn place(random: &mut Random, names: &Names) -> Place {
    if random.chance(4) {
        return Place {
            base: Some(names.slot(random)),
            path: PathBuf::from(name(random)),
        };
    }
    Place::root(names.any(random))
}

/// Returns a place where something can be made.
fn new_place(random: &mut Random, names: &Names) -> Place {
    if random.chance(4) {
        return place(random, names);
    }
    Place::root(if random.chance(75) {
        names.free(random)
    } else {
        names.any(random)
    })
}

/// Returns a place, probably of a directory.
fn directory(random: &mut Random, names: &Names) -> Place {
    Place::root(names.of(random, Kind::Directory))
}

fn target(random: &mut Random, names: &Names) -> Target {
    if random.chance(30) {
        Target::Open(names.slot(random))
    } else {
        Target::Path(place(random, names), random.chance(50))
    }
}

fn mode(random: &mut Random) -> Octal {
    Octal(random.pick(&MODES))
}

fn open(random: &mut Random, names: &Names) -> Operation {
    let mut flags = random.pick(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR]);
    let is_unnamed = random.chance(5);
    for (percent, flag) in [
        (35, OFlags::CREATE),
        (10, OFlags::EXCL),
        (15, OFlags::TRUNC),
        (15, OFlags::APPEND),
        (10, OFlags::NOFOLLOW),
        (6, OFlags::DIRECTORY),
        (2, OFlags::SYNC),
        (2, OFlags::NOATIME),
        (2, OFlags::PATH),
    ] {
        // `O_DIRECTORY` is part of `O_TMPFILE`.
        if random.chance(percent) && !is_unnamed {
            flags |= flag;
        }
    }
    let at = if is_unnamed {
        flags |= OFlags::TMPFILE;
        Place::root(names.of(random, Kind::Directory))
    } else if flags.contains(OFlags::CREATE) {
        new_place(random, names)
    } else if random.chance(70) {
        Place::root(names.of(random, Kind::File))
    } else {
        place(random, names)
    };
    Operation::Open {
        slot: random.below(SLOTS),
        at,
        flags,
        mode: mode(random),
    }
}

fn on_open(random: &mut Random, names: &Names) -> Operation {
    let slot = names.slot(random);
    let (offset, length) = (random.pick(&OFFSETS), random.pick(&LENGTHS));
    let (byte, buffer) = (random.byte(), usize::try_from(length).unwrap());
    match random.below(22) {
        0 => Operation::Close { slot },
        1..3 => Operation::Read {
            slot,
            length: buffer,
        },
        3..6 => Operation::ReadAt {
            slot,
            offset,
            length: buffer,
        },
        6..9 => Operation::Write { slot, byte, length },
        9..12 => Operation::WriteAt {
            slot,
            byte,
            offset,
            length,
        },
        12..14 => {
            let mode = [
                FallocateFlags::empty(),
                FallocateFlags::KEEP_SIZE,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                FallocateFlags::ZERO_RANGE,
                FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
            ];
            let mode = random.pick(&mode);
            Operation::Allocate {
                slot,
                mode,
                offset,
                length,
            }
        }
        14..16 => {
            let (to, to_offset) = (names.slot(random), random.pick(&OFFSETS));
            Operation::Copy {
                from: slot,
                offset,
                to,
                to_offset,
                length: buffer,
            }
        }
        16 => Operation::Seek {
            slot,
            is_hole: random.chance(50),
            offset,
        },
        17..19 => Operation::MapWrite {
            slot,
            page: offset / 4096,
            byte,
        },
        19 => Operation::Sync {
            slot,
            data_only: random.chance(50),
        },
        20 => Operation::Evict { slot },
        _ => Operation::LinkOpen {
            slot,
            to: new_place(random, names),
        },
    }
}

fn on_names(random: &mut Random, names: &Names) -> Operation {
    match random.below(34) {
        0..5 => Operation::MakeDirectory {
            at: new_place(random, names),
            mode: mode(random),
        },
        5..7 => {
            let (kind, device) = random.pick(&[
                (FileType::Fifo, (0, 0)),
                (FileType::CharacterDevice, (1, 3)),
                (FileType::CharacterDevice, (0, 0)),
                (FileType::Socket, (0, 0)),
                (FileType::RegularFile, (0, 0)),
            ]);
            let (at, mode) = (new_place(random, names), mode(random));
            Operation::MakeNode {
                at,
                kind,
                mode,
                device,
            }
        }
        7..9 => Operation::Symlink {
            at: new_place(random, names),
            target: PathBuf::from(name(random)),
        },
        9..13 => Operation::Link {
            from: place(random, names),
            to: new_place(random, names),
            follow: random.chance(20),
        },
        13..19 => Operation::Unlink {
            at: place(random, names),
        },
        19..22 => Operation::RemoveDirectory {
            at: place(random, names),
        },
        _ => {
            let flags = match random.below(40) {
                0..5 => RenameFlags::NOREPLACE,
                5..16 => RenameFlags::EXCHANGE,
                _ => RenameFlags::empty(),
            };
            let to = if flags == RenameFlags::EXCHANGE || random.chance(30) {
                place(random, names)
            } else {
                new_place(random, names)
            };
            Operation::Rename {
                from: place(random, names),
                to,
                flags,
            }
        }
    }
}

fn time(random: &mut Random) -> Time {
    match random.below(6) {
        0 => Time::Now,
        1 => Time::Omit,
        2 => Time::At(-86_400, 999_999_999),
        3 => Time::At(4_102_444_800, 1),
        _ => Time::At(1_000_000_000 + i64::from(random.byte()), 123_456_789),
    }
}

fn change(random: &mut Random) -> Change {
    let id = |random: &mut Random| random.pick(&[None, Some(0), Some(1000), Some(1001)]);
    match random.below(10) {
        0..2 => Change::Mode(mode(random)),
        2..4 => match (id(random), id(random)) {
            (None, None) => Change::Owner(Some(0), None),
            (uid, gid) => Change::Owner(uid, gid),
        },
        4..6 => Change::Times(time(random), time(random)),
        6 => Change::Size(random.pick(&OFFSETS)),
        7..9 => {
            let (name, value) = random.pick(&XATTRS);
            let flags = [XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE];
            Change::SetXattr(name, value.to_vec(), random.pick(&flags))
        }
        _ => Change::RemoveXattr(random.pick(&XATTRS).0),
    }
}

fn look(random: &mut Random, names: &Names) -> Operation {
    let look = match random.below(8) {
        0 => Look::Stat,
        1..3 => Look::Xattr(random.pick(&XATTRS).0, random.pick(&[0, 1, 4096])),
        3 => Look::Xattrs(random.pick(&[0, 1, 4096])),
        4 => Look::Target,
        5 => Look::Access(random.pick(&[0, 1, 2, 4, 7])),
        _ => Look::List,
    };
    let target = if matches!(look, Look::List) && random.chance(90) {
        Target::Path(directory(random, names), false)
    } else {
        target(random, names)
    };
    Operation::Look { target, look }
}

/// Tells the names what an operation of root's changes.
fn learn(names: &mut Names, operation: &Operation) {
    let is_known = |place: &Place| place.base.is_none();
    match operation {
        Operation::Open {
            slot, at, flags, ..
        } if is_known(at) => {
            if opens(names, at, *flags) {
                names.set_open(*slot, true);
            }
            if flags.contains(OFlags::CREATE) && !flags.contains(OFlags::DIRECTORY) {
                names.make(&at.path, Kind::File);
            }
        }
        Operation::Close { slot } => names.set_open(*slot, false),
        Operation::Remount => names.close_all(),
        Operation::MakeDirectory { at, .. } if is_known(at) => {
            names.make(&at.path, Kind::Directory);
        }
        Operation::MakeNode {
            at, kind, device, ..
        } if is_known(at) => match *kind {
            FileType::RegularFile => names.make(&at.path, Kind::File),
            FileType::CharacterDevice if *device == (0, 0) => (),
            _ => names.make(&at.path, Kind::Other),
        },
        Operation::Symlink { at, .. } if is_known(at) => names.make(&at.path, Kind::Other),
        Operation::LinkOpen { to, .. } if is_known(to) => names.make(&to.path, Kind::File),
        Operation::Link { from, to, .. } if is_known(from) && is_known(to) => {
            names.link(&from.path, &to.path);
        }
        Operation::Unlink { at } if is_known(at) => names.unlink(&at.path),
        Operation::RemoveDirectory { at } if is_known(at) => names.remove_directory(&at.path),
        Operation::Rename { from, to, flags } if is_known(from) && is_known(to) => {
            rename(names, from, to, *flags);
        }
        _ => (),
    }
}

fn rename(names: &mut Names, from: &Place, to: &Place, flags: RenameFlags) {
    if flags.contains(RenameFlags::EXCHANGE) {
        names.exchange(&from.path, &to.path);
    } else if flags.is_empty() || flags == RenameFlags::NOREPLACE && names.is_free(&to.path) {
        names.rename(&from.path, &to.path);
    }
}

/// Returns whether a file is open afterwards.
fn opens(names: &Names, at: &Place, flags: OFlags) -> bool {
    let is_written = flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::CREATE);
    match names.kind(&at.path) {
        None => flags.contains(OFlags::CREATE) && names.is_free(&at.path),
        Some(Kind::File) => !flags.intersects(OFlags::EXCL | OFlags::DIRECTORY),
        Some(Kind::Directory) => !is_written || flags.contains(OFlags::TMPFILE),
        Some(Kind::Other) => false,
    }
}
