//! Decompression by magic number, as containerd detects it: media types lie.
//!
//! gzip of several members (RFC 1952), zstd of several frames (RFC 8878, skippable
//! frames included), everything else as it is. An empty stream is an empty layer.
//! Anything behind the last member or frame that is not another one is an error, as
//! it is for Go's readers.
//!
//! A zstd decoder keeps a window as large as the encoder chose. Streams that do not
//! begin with one of usual size take turns, so that layers that are unpacked at the same
//! time keep within `(PARALLEL - 1) << WINDOW_LOG_USUAL` and one `1 << WINDOW_LOG_MAX`:
//! 56 MiB. Only a stream whose later frames have larger windows than its first, which no
//! encoder is known to make, goes beyond that; it is unpacked all the same.

use std::io::{self, BufRead, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::bufread::MultiGzDecoder;

/// The base-2 logarithm of the largest window that a zstd frame may ask for: 32 MiB,
/// the largest that the encoders in use for images choose without being asked.
const WINDOW_LOG_MAX: u32 = 25;
/// The base-2 logarithm of the largest window that takes no turn: 8 MiB, which RFC
/// 8878 (§3.1.1.1.2) wants every decoder to support.
const WINDOW_LOG_USUAL: u32 = 23;
/// The base-2 logarithm of the smallest window that tells anything of later frames: the
/// one that encoders use at their fastest. They choose smaller ones for short contents,
/// so that a stream of many frames (`zstd:chunked`) can begin with any.
const WINDOW_LOG_TELLING: u32 = 19;
/// The bytes that tell the formats apart, and the usual zstd frame from others.
const PREFIX: usize = 6;

/// The turn of the one decoder that has a large window.
static TURN: Mutex<()> = Mutex::new(());

/// A decoder, with its turn if it needs one.
struct InTurn<R> {
    decoder: R,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl<R: Read> Read for InTurn<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
    Plain,
}

/// Returns a reader of the uncompressed bytes. Waits for other readers where the
/// window may be large.
pub(crate) fn reader<'a>(mut input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut prefix = Vec::with_capacity(PREFIX);
    input
        .by_ref()
        .take(PREFIX as u64)
        .read_to_end(&mut prefix)?;
    let format = detect(&prefix);
    let is_usual = has_usual_window(&prefix);
    let input = io::Cursor::new(prefix).chain(input);
    Ok(match format {
        Format::Gzip => Box::new(MultiGzDecoder::new(input)),
        Format::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            let turn = (!is_usual).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(InTurn {
                decoder,
                _turn: turn,
            })
        }
        Format::Plain => Box::new(input),
    })
}

fn detect(prefix: &[u8]) -> Format {
    match prefix {
        [0x1f, 0x8b, 0x08, ..] => Format::Gzip,
        // A frame, or a skippable frame (RFC 8878 §3.1.1 and §3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
        _ => Format::Plain,
    }
}

/// Says whether a zstd stream begins with a frame whose window is of the usual size, as
/// those of later frames are then, since one encoder makes all. Frames with a small one
/// or without (skippable ones, single segments) tell nothing of the next.
fn has_usual_window(prefix: &[u8]) -> bool {
    const SINGLE_SEGMENT: u8 = 1 << 5;
    match prefix {
        [0x28, 0xb5, 0x2f, 0xfd, descriptor, window, ..] if descriptor & SINGLE_SEGMENT == 0 => {
            // RFC 8878 §3.1.1.1.2: five bits of exponent, three of mantissa that add to it.
            let exponent = 10 + u32::from(window >> 3);
            let is_exact = window % 8 == 0;
            (WINDOW_LOG_TELLING..WINDOW_LOG_USUAL).contains(&exponent)
                || (exponent == WINDOW_LOG_USUAL && is_exact)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    /// Reads through one-byte and whole chunks; both must agree.
    fn outcome(input: &[u8]) -> Result<Vec<u8>, String> {
        let read = |capacity| {
            let mut output = Vec::new();
            let result = reader(io::BufReader::with_capacity(capacity, input))
                .and_then(|mut reader| reader.read_to_end(&mut output));
            result.map(|_| output).map_err(|_| "error".to_owned())
        };
        let whole = read(1 << 16);
        assert_eq!(read(1), whole);
        whole
    }

    #[test]
    fn streams_are_told_apart_by_their_first_bytes() {
        let table: [(&str, Vec<u8>, &[u8]); 9] = [
            ("empty", vec![], b""),
            ("shorter than a magic number", b"ab".to_vec(), b"ab"),
            ("plain", b"plain tar".to_vec(), b"plain tar"),
            ("gzip", gzip(b"abc"), b"abc"),
            (
                "gzip of two members",
                [gzip(b"abc"), gzip(b"def")].concat(),
                b"abcdef",
            ),
            ("gzip of nothing", gzip(b""), b""),
            ("zstd", zstd(b"abc"), b"abc"),
            (
                "zstd of two frames",
                [zstd(b"abc"), zstd(b"def")].concat(),
                b"abcdef",
            ),
            (
                "skippable frame first",
                [
                    &[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9],
                    &zstd(b"abc")[..],
                ]
                .concat(),
                b"abc",
            ),
        ];
        for (why, input, expected) in table {
            assert_eq!(outcome(&input).as_deref(), Ok(expected), "{why}");
        }
    }

    /// Returns a zstd frame with a window of a given size.
    fn with_window(log: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(b"abc").unwrap();
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn large_windows_take_turns_and_larger_ones_are_refused() {
        let table: [(&str, Vec<u8>, bool, bool); 8] = [
            ("small", with_window(WINDOW_LOG_TELLING - 1), false, true),
            ("telling", with_window(WINDOW_LOG_TELLING), true, true),
            ("usual", with_window(WINDOW_LOG_USUAL), true, true),
            ("large", with_window(WINDOW_LOG_USUAL + 1), false, true),
            ("largest", with_window(WINDOW_LOG_MAX), false, true),
            ("too large", with_window(WINDOW_LOG_MAX + 1), false, false),
            (
                "large behind a skippable frame",
                [
                    &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0],
                    &with_window(WINDOW_LOG_MAX)[..],
                ]
                .concat(),
                false,
                true,
            ),
            (
                "large behind usual",
                [with_window(WINDOW_LOG_USUAL), with_window(WINDOW_LOG_MAX)].concat(),
                true,
                true,
            ),
        ];
        for (why, input, is_usual, is_accepted) in table {
            assert_eq!(has_usual_window(&input), is_usual, "{why}");
            assert_eq!(outcome(&input).is_ok(), is_accepted, "{why}");
        }
        let large = with_window(WINDOW_LOG_MAX);
        let turn = reader(&large[..]).unwrap();
        assert!(TURN.try_lock().is_err(), "it has the turn");
        drop(turn);
    }

    #[test]
    fn corrupt_streams_are_errors() {
        let noise: Vec<u8> = (0..4096_u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        for (name, whole) in [("gzip", gzip(&noise)), ("zstd", zstd(&noise))] {
            let cut = &whole[..whole.len() / 2];
            let mut changed = whole.clone();
            let middle = changed.len() / 2;
            changed[middle] ^= 0xff;
            let trailed = [&whole[..], b"garbage"].concat();
            for (why, input) in [
                ("cut", cut),
                ("changed", &changed[..]),
                ("garbage behind", &trailed[..]),
            ] {
                // zstd without a checksum does not notice every change; the digests do.
                if name == "gzip" || why != "changed" {
                    assert!(outcome(input).is_err(), "{name} {why}");
                }
            }
        }
    }
}
