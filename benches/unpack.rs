//! Measures how much a packed layer costs on top of inflating it, on one thread.
//!
//! `cargo bench --bench unpack -- BLOB...` prints, over gzip layers, the seconds to
//! inflate them to nowhere, the seconds to inflate, hash, store and index them, and the ratio:
//! medians of five runs that take turns.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use mica_fuse::Builder;
use sha2::{Digest as _, Sha256};

const RUNS: usize = 5;
const PIECE: usize = 256 * 1024;

fn inflate(
    blob: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut plain = MultiGzDecoder::new(File::open(blob)?);
    let mut piece = vec![0; PIECE];
    loop {
        match plain.read(&mut piece)? {
            0 => return Ok(()),
            length => take(&piece[..length])?,
        }
    }
}

fn inflate_alone(blobs: &[PathBuf]) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    for blob in blobs {
        inflate(blob, |piece| {
            std::hint::black_box(piece);
            Ok(())
        })?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn unpack(blobs: &[PathBuf]) -> Result<f64, Box<dyn Error>> {
    let mut seconds = 0.0;
    for blob in blobs {
        let directory = tempfile::tempdir()?;
        let handle = File::open(directory.path())?;
        let start = Instant::now();
        let mut digest = Sha256::new();
        let mut builder = Builder::new(handle.as_fd(), "measured")?;
        inflate(blob, |piece| {
            digest.update(piece);
            Ok(builder.push(piece)?)
        })?;
        builder.finish()?;
        std::hint::black_box(digest.finalize());
        seconds += start.elapsed().as_secs_f64();
    }
    Ok(seconds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let blobs: Vec<PathBuf> = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--bench") // which cargo adds
        .map(PathBuf::from)
        .collect();
    let (mut alone, mut whole) = (Vec::new(), Vec::new());
    inflate_alone(&blobs)?;
    for _ in 0..RUNS {
        alone.push(inflate_alone(&blobs)?);
        whole.push(unpack(&blobs)?);
    }
    let (alone, whole) = (median(alone), median(whole));
    let ratio = whole / alone;
    writeln!(
        std::io::stdout(),
        "inflate {alone:.2} s, unpack {whole:.2} s, ratio {ratio:.2}"
    )?;
    Ok(())
}
