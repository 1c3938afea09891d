//! What comes in a buffer and goes out in it, whatever bytes it holds.

use std::os::fd::AsFd;

use memmap2::MmapMut;
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use zerocopy::IntoBytes;

use super::*;
use crate::kernel::abi::opcode;
use crate::kernel::encode::encode_done;
use crate::{NodeId, Operation, sys};

const PAYLOAD: usize = 8192;

/// Calls `check` with a slot that holds these bytes.
fn with_slot<T>(header: &[u8], payload: &[u8], check: impl FnOnce(Slot<'_>) -> T) -> T {
    let memory = memfd_create("slot", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memory, Slot::stride(PAYLOAD) as u64).unwrap();
    let mut map: MmapMut = sys::map_memory(memory.as_fd()).unwrap();
    map[..header.len()].copy_from_slice(header);
    map[HEADER_PAGE..][..payload.len()].copy_from_slice(payload);
    check(Slot::new(&mut map, (memory.as_fd(), 0), 0, 0).unwrap())
}

/// Returns a request as the kernel writes it: header, structure, and what is said of the rest.
fn request(code: u32, structure: &[u8], payload: usize) -> Vec<u8> {
    let header = InHeader {
        len: u32::try_from(size_of::<InHeader>() + structure.len() + payload).unwrap(),
        opcode: code,
        unique: 7,
        nodeid: 5,
        uid: 0,
        gid: 0,
        pid: 0,
        total_extlen: 0,
        padding: 0,
    };
    let mut bytes = vec![0; size_of::<RingHeader>()];
    bytes[..size_of::<InHeader>()].copy_from_slice(header.as_bytes());
    bytes[128..][..structure.len()].copy_from_slice(structure);
    bytes[264..272].copy_from_slice(&7_u64.to_ne_bytes());
    bytes[272..276].copy_from_slice(&u32::try_from(payload).unwrap().to_ne_bytes());
    bytes
}

#[test]
fn a_request_is_read_from_its_places() {
    let header = request(opcode::LOOKUP, b"", 4);
    with_slot(&header, b"bin\0 and more", |slot| {
        assert_eq!(slot.commit_id(), 7);
        let Ok(Message::Ask(question)) = slot.message() else {
            panic!("no request");
        };
        let expected = Operation::Lookup { name: b"bin" };
        assert_eq!(question.request.operation, expected);
        assert_eq!(question.request.node, NodeId(5));
    });
}

#[test]
fn what_a_request_says_of_itself_is_checked() {
    let cases = [
        (
            "more payload than there is",
            request(opcode::LOOKUP, b"", PAYLOAD + 1),
        ),
        ("less of all than of the payload", {
            let mut header = request(opcode::LOOKUP, b"", 0);
            header[272..276].copy_from_slice(&100_u32.to_ne_bytes());
            header
        }),
        ("more structure than has room", {
            let mut header = request(opcode::LOOKUP, b"", 0);
            header[..4].copy_from_slice(&500_u32.to_ne_bytes());
            header
        }),
        ("less than a header", {
            let mut header = request(opcode::LOOKUP, b"", 0);
            header[..4].copy_from_slice(&39_u32.to_ne_bytes());
            header
        }),
    ];
    for (why, header) in cases {
        let unique = with_slot(&header, b"", |slot| slot.message().unwrap_err().unique);
        assert_eq!(unique, Some(7), "{why}");
    }
}

#[test]
fn an_answer_goes_out_as_head_and_contents() {
    let mut head = Vec::new();
    encode_done(9, &mut head);
    head.extend_from_slice(b"head");
    let data = [
        Segment::Owned(b"owned".to_vec()),
        Segment::Zeros(3),
        Segment::Mapped(b"mapped"),
    ];
    let header = request(opcode::READ, &[0xff; 40], 0);
    with_slot(&header, &[0xff; 64], |mut slot| {
        slot.fill(&head, &data).unwrap();
        assert_eq!(slot.header.in_out[..OUT], head[..OUT]);
        assert_eq!(slot.used(), 18);
        assert_eq!(&slot.payload[..19], b"headowned\0\0\0mapped\xff");
        for data in [Segment::Zeros(PAYLOAD), Segment::Mapped(&[0; PAYLOAD])] {
            assert_eq!(
                slot.fill(&head, &[data]),
                Err(Errno::TOOBIG),
                "after the head"
            );
        }
    });
}

#[test]
fn contents_that_are_gone_are_an_error_and_no_signal() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(8192).unwrap();
    let map = sys::map(file.as_fd()).unwrap();
    file.set_len(0).unwrap();
    let mut head = Vec::new();
    encode_done(9, &mut head);
    with_slot(&request(opcode::READ, &[0; 40], 0), b"", |mut slot| {
        let filled = slot.fill(&head, &[Segment::Mapped(&map)]);
        assert_eq!(filled, Err(Errno::FAULT));
    });
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        header in prop::collection::vec(any::<u8>(), size_of::<RingHeader>()),
        length in 0_u32..300,
        code in 0_u32..64,
        payload in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..200),
        used in 0_u32..300,
    ) {
        let mut header = header;
        header[..4].copy_from_slice(&length.to_ne_bytes());
        header[4..8].copy_from_slice(&code.to_ne_bytes());
        header[272..276].copy_from_slice(&used.to_ne_bytes());
        let mut bytes = vec![0_u64; Slot::stride(PAYLOAD) / 8];
        let bytes = bytes.as_mut_bytes();
        bytes[..header.len()].copy_from_slice(&header);
        bytes[HEADER_PAGE..][..payload.len()].copy_from_slice(&payload);
        // Nothing is filled in, so that it need not be the file in memory.
        let memory = std::io::stdin();
        let slot = Slot::new(bytes, (memory.as_fd(), 0), 0, 0).unwrap();
        match slot.message() {
            Ok(Message::Forget(nodes)) => prop_assert!(nodes.count() <= payload.len() + 128),
            Ok(_) => {}
            Err(malformed) => prop_assert!(malformed.unique.is_some()),
        }
    }
}
