//! The kernel's overlayfs as the oracle of the writable view: random sequences of
//! operations on both, compared after every step. Needs root.
//!
//! | variable | meaning |
//! |---|---|
//! | `MICA_ORACLE_SEQUENCES` | how many sequences |
//! | `MICA_ORACLE_LENGTH` | how many operations each |
//! | `MICA_ORACLE_SEED` | the seed of the first, the others follow |
//! | `MICA_ORACLE_KEEP` | of the first, only these parts, as a failure prints them |

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

#[path = "../support/mount.rs"]
mod mount;
#[path = "../support/transport.rs"]
mod transport;

mod allowed;
mod contest;
mod difference;
mod generate;
mod identity;
mod names;
mod operation;
mod perform;
mod random;
mod seen;
mod selftest;
mod settle;
mod shrink;
mod side;
mod stack;
mod sys;
mod tree;
mod trial;
mod watch;
mod watched;

use mount::Implementation;
use trial::Trial;

#[test]
fn random_sequences_show_what_overlayfs_shows() {
    Trial::of_environment(500, 120).run(Implementation::Mica);
}
