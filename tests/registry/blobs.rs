//! A blob to fetch, and how: with waits that do not hold a test up.

use std::time::Duration;

use mica::oci::{Descriptor, MediaType};
use mica::registry::{Blob, Error, Options, Policy, Timeouts};

/// Options without credentials, with short waits.
pub(crate) fn quick_options() -> Options {
    Options {
        policy: Policy {
            first: Duration::from_millis(1),
            ..Policy::default()
        },
        timeouts: Timeouts {
            stall: Duration::from_millis(300),
            ..Timeouts::default()
        },
        ..Options::default()
    }
}

/// Five thousand bytes, no two neighbouring runs of which are the same.
pub(crate) fn content() -> Vec<u8> {
    (0..5000_u32)
        .map(|at| (at * at % 251).to_le_bytes()[0])
        .collect()
}

pub(crate) fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, bytes)
}

pub(crate) async fn read(mut blob: Blob) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = blob.next().await? {
        assert!(!piece.is_empty());
        bytes.extend(piece);
    }
    Ok(bytes)
}
