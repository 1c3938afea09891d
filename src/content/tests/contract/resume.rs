//! The cases of writers that go on where another has ended.

use super::*;

#[test]
fn resume() {
    let stage = Stage::new();
    let bytes = noise(512);
    let mut started = None;
    for (from, to) in [(0, 128), (128, 256), (256, 512)] {
        let mut writer = stage.writer("resumed");
        let status = writer.status().unwrap();
        assert_eq!(status.offset, from as u64);
        assert_eq!(*started.get_or_insert(status.started), status.started);
        assert_eq!(writer.digest(), Digest::sha256(&bytes[..from]));
        writer.write(&bytes[from..to]).unwrap();
    }
    let writer = stage.writer("resumed");
    let digest = Digest::sha256(&bytes);
    writer.commit(512, Some(&digest), Labels::new()).unwrap();
    assert_eq!(bytes_of(&stage.blobs, &digest), bytes);
}

/// Writes a part of a blob, goes on in a second writer, and checks the blob.
fn resumed_by(go_on: fn(&mut Writer, &[u8]) -> Result<(), ContentError>) {
    let stage = Stage::new();
    for size in [500, 5000, 50_000] {
        for percent in [0, 10, 50, 90, 100] {
            let mut bytes = noise(size);
            bytes[0] = percent;
            let part = size * usize::from(percent) / 100;
            let mut writer = stage.writer("part");
            writer.write(&bytes[..part]).unwrap();
            drop(writer);
            let mut writer = stage.writer("part");
            assert_eq!(writer.offset(), part as u64);
            go_on(&mut writer, &bytes).unwrap();
            let digest = Digest::sha256(&bytes);
            let size = size as u64;
            writer.commit(size, Some(&digest), Labels::new()).unwrap();
            assert_eq!(bytes_of(&stage.blobs, &digest), bytes, "{size} {percent} %");
        }
    }
}

#[test]
fn resume_truncate() {
    resumed_by(|writer, bytes| {
        writer.truncate()?;
        writer.write(bytes)
    });
}

#[test]
fn resume_discard() {
    resumed_by(|writer, bytes| {
        writer.seek(0)?;
        assert_eq!(writer.digest(), Digest::sha256(b""));
        writer.write(bytes)
    });
}

#[test]
fn resume_copy() {
    resumed_by(|writer, bytes| {
        let rest = bytes.split_at(usize::try_from(writer.offset()).unwrap()).1;
        rest.chunks(777).try_for_each(|piece| writer.write(piece))
    });
}

#[test]
fn resume_copy_seeker() {
    resumed_by(|writer, bytes| {
        let offset = writer.offset();
        if offset > 0 {
            let wrong = writer.seek(offset - 1);
            if offset > 1 {
                assert_eq!(class(wrong), ErrorClass::OutOfRange);
            }
        }
        assert_eq!(class(writer.seek(offset + 1)), ErrorClass::OutOfRange);
        writer.seek(offset)?;
        writer.write(&bytes[usize::try_from(offset).unwrap()..])
    });
}

#[test]
fn resume_copy_reader_at() {
    resumed_by(|writer, bytes| {
        while let Some(piece) = bytes
            .get(usize::try_from(writer.offset()).unwrap()..)
            .and_then(|rest| rest.chunks(4096).next())
        {
            writer.write(piece)?;
        }
        Ok(())
    });
}
