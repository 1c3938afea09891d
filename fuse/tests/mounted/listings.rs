//! What the kernel asks for where callers go through directories.

use std::process::{Command, Stdio};

use crate::opcode::LOOKUP;
use crate::stage::{Served, Stage};

/// The files in `many`.
const MANY: u64 = 3000;

/// Runs `ls` in the mount; returns how often that made the kernel look a name up.
fn look_ups(served: &Served, arguments: &[&str]) -> u64 {
    let before = served.statistics().messages(LOOKUP);
    let mut ls = Command::new("ls");
    let ls = ls.args(arguments).current_dir(served.point());
    assert!(ls.stdout(Stdio::null()).status().unwrap().success());
    served.statistics().messages(LOOKUP) - before
}

#[test]
fn who_wants_nodes_gets_them_though_others_had_listings_without() {
    for served in [Stage::new().serve(), Stage::new().serve_packed()] {
        // The second listing is bare on trial, and so are those that follow.
        let of_names = look_ups(&served, &["-f", ".", "deep", "many"]);
        assert!(of_names < 10, "{of_names}");
        let of_nodes = look_ups(&served, &["-l", "many"]);
        assert!((5..MANY * 2 / 3).contains(&of_nodes), "{of_nodes}");
    }
}
