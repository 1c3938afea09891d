//! Which ways to the kernel there are here.

use mica_fuse::session::Transport;

/// As `mica` mounts, unless `MICA_TEST_TRANSPORT` says how.
pub(crate) fn usual_transport() -> Transport {
    let asked = std::env::var("MICA_TEST_TRANSPORT");
    let named = |(name, _): &&(&str, Transport)| Ok(*name) == asked.as_deref();
    NAMES
        .iter()
        .find(named)
        .map_or_else(Transport::default, |(_, transport)| *transport)
}

/// The words of `MICA_TEST_TRANSPORT`.
pub(crate) const NAMES: [(&str, Transport); 3] = [
    ("ring", Transport::Ring),
    ("poll", Transport::Poll),
    ("block", Transport::Block),
];
