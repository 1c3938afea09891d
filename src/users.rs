//! Who this process is: root of the machine, or of a user namespace, who may do less.

use std::fs;

/// A run of ids of a user namespace, as `/proc/self/uid_map` has it: the first id inside, the
/// first outside, and how many.
pub(crate) type Mapped = (u32, u32, u32);

/// Returns whether this process is root of the machine, and not only of a user namespace: the
/// kernel lets that one alone write `trusted.*` attributes and make devices.
pub(crate) fn is_machine_root() -> bool {
    rustix::process::geteuid().is_root() && is_whole(&mapped("/proc/self/uid_map"))
}

/// Returns the ids of the user namespace of this process.
pub(crate) fn mapped(file: &str) -> Vec<Mapped> {
    parse(&fs::read_to_string(file).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Mapped> {
    let numbers = |line: &str| -> Option<Mapped> {
        let mut fields = line.split_whitespace().map(str::parse);
        let mut next = || fields.next()?.ok();
        Some((next()?, next()?, next()?))
    };
    text.lines().filter_map(numbers).collect()
}

/// Returns whether these are all ids, each as itself; so they are on a kernel that has no user
/// namespaces.
fn is_whole(ids: &[Mapped]) -> bool {
    ids.is_empty() || ids == [(0, 0, u32::MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_all_ids() {
        let cases = [
            ("the machine's", "         0          0 4294967295\n", true),
            ("no namespaces", "", true),
            ("one id", "0 1000 1\n", false),
            ("two ranges", "0 1000 1\n1 100000 65536\n", false),
            ("many, as others", "0 100000 65536\n", false),
        ];
        for (why, text, expected) in cases {
            assert_eq!(is_whole(&parse(text)), expected, "{why}");
        }
        assert_eq!(parse("0 1000 1\n1 7 5\n"), [(0, 1000, 1), (1, 7, 5)]);
    }
}
