//! Open files and their contents.

use super::*;

#[test]
fn operations_on_files() {
    let (plain, killing) = (write_in(3, 0), write_in(3, abi::WRITE_KILL_SUIDGID));
    let empty = write_in(0, 0);
    let written = |data, kill_privileges| Operation::Write {
        offset: 9,
        data,
        kill_privileges,
    };
    let flags = libc::O_WRONLY.cast_unsigned();
    let (open, open_killing) = (words(&[flags, 0]), words(&[flags, abi::OPEN_KILL_SUIDGID]));
    let opened = |kill_privileges| Operation::Open {
        flags,
        kill_privileges,
    };
    let (sync, data_sync) = (
        [longs(&[1]), words(&[0, 0])].concat(),
        [longs(&[1]), words(&[abi::FSYNC_FDATASYNC, 0])].concat(),
    );
    let allocate = [longs(&[1, 10, 20]), words(&[3, 0])].concat();
    let input = ioctl_in(3, 4);
    let cases: Vec<Case<'_>> = vec![
        ("open", opcode::OPEN, vec![&open], opened(false)),
        (
            "open, killing",
            opcode::OPEN,
            vec![&open_killing],
            opened(true),
        ),
        (
            "write",
            opcode::WRITE,
            vec![&plain, b"abc"],
            written(b"abc", false),
        ),
        (
            "write, killing",
            opcode::WRITE,
            vec![&killing, b"abc"],
            written(b"abc", true),
        ),
        (
            "write nothing",
            opcode::WRITE,
            vec![&empty],
            written(b"", false),
        ),
        (
            "fsync",
            opcode::FSYNC,
            vec![&sync],
            Operation::Fsync { data_only: false },
        ),
        (
            "fdatasync",
            opcode::FSYNC,
            vec![&data_sync],
            Operation::Fsync { data_only: true },
        ),
        (
            "fallocate",
            opcode::FALLOCATE,
            vec![&allocate],
            Operation::Allocate {
                offset: 10,
                length: 20,
                mode: 3,
            },
        ),
        (
            "ioctl",
            opcode::IOCTL,
            vec![&input, b"\x01\x00\x02"],
            Operation::Ioctl {
                command: 0x8004_6601,
                input: b"\x01\x00\x02",
                room: 4,
            },
        ),
    ];
    check(&cases);
    check_cuts(&cases);
}

#[test]
fn copies_are_as_long_as_their_answer_can_say() {
    let copied = |length| Operation::CopyFileRange {
        offset: 100,
        to: NodeId(6),
        to_offset: 200,
        length,
    };
    let (short, long, flagged) = (copy_in(9, 0), copy_in(u64::MAX, 0), copy_in(9, 1));
    let (old, new) = (opcode::COPY_FILE_RANGE, opcode::COPY_FILE_RANGE_64);
    let cases = [
        ("32 bits", old, vec![&short[..]], copied(9)),
        ("more than 32 bits", old, vec![&long], copied(0xffff_f000)),
        ("64 bits", new, vec![&long], copied(u64::MAX)),
        (
            "flags that nobody knows",
            new,
            vec![&flagged],
            Operation::Unknown { opcode: new },
        ),
    ];
    check(&cases);
    check_cuts(&cases);
}
