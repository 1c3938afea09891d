//! What the names of an archive mean: paths inside the root, and whiteouts.

use crate::tar::TarFault;

/// `NAME_MAX`.
pub(super) const COMPONENT_LIMIT: usize = 255;
/// What stands in front of a name in a whiteout.
const WHITEOUT: &[u8] = b".wh.";
/// `PATH_MAX`, without its NUL.
pub(super) const PATH_LIMIT: usize = 4095;

/// What the last component of a path says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    /// An ordinary name.
    Plain(&'a [u8]),
    /// The name is not in the lower layers.
    Whiteout(&'a [u8]),
    /// Nothing of the directory is in the lower layers.
    Opaque,
}

impl<'a> Mark<'a> {
    /// Reads the last component of a path; only there a whiteout means anything.
    pub(super) fn of(component: &'a [u8]) -> Result<Self, TarFault> {
        match component.strip_prefix(WHITEOUT) {
            None => Ok(Self::Plain(component)),
            Some(b".wh..opq") => Ok(Self::Opaque),
            Some(b"" | b"." | b"..") => Err(TarFault::Whiteout),
            Some(name) => Ok(Self::Whiteout(name)),
        }
    }
}

/// Splits a path into its components, relative to the root: `.` and empty ones
/// vanish, `..` takes the one before it and never leaves the root. A whiteout may be
/// longer than a name by its prefix.
pub(super) fn components(path: &[u8]) -> Result<Vec<&[u8]>, TarFault> {
    if path.len() > PATH_LIMIT {
        return Err(TarFault::NameTooLong);
    }
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            _ if is_too_long(component) => return Err(TarFault::NameTooLong),
            _ if component.contains(&0) => return Err(TarFault::NulInName),
            _ => components.push(component),
        }
    }
    Ok(components)
}

fn is_too_long(component: &[u8]) -> bool {
    let name = component.strip_prefix(WHITEOUT).unwrap_or(component);
    name.len() > COMPONENT_LIMIT
}

/// Returns whether a name can stand in a directory.
pub(super) fn is_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a str, &'a [u8], &'a [&'a [u8]]);

    #[test]
    fn paths_stay_inside_the_root() {
        let cases: &[Case<'_>] = &[
            ("plain", b"a/b", &[b"a", b"b"]),
            ("dot", b"./a", &[b"a"]),
            ("double slash", b"a//b", &[b"a", b"b"]),
            ("absolute", b"/a/b/", &[b"a", b"b"]),
            ("root", b"./", &[]),
            ("empty", b"", &[]),
            ("up", b"a/../b", &[b"b"]),
            ("up and out", b"../../esc", &[b"esc"]),
            ("down and out", b"a/../../../esc", &[b"esc"]),
            ("not UTF-8", b"\xff/\xfe", &[b"\xff", b"\xfe"]),
            ("three dots", b".../a", &[b"...", b"a"]),
        ];
        for (why, path, expected) in cases {
            assert_eq!(components(path).unwrap(), *expected, "{why}");
        }
    }

    #[test]
    fn names_that_no_file_system_holds_are_refused() {
        assert!(components(&[b'a'; 255]).is_ok());
        assert_eq!(components(&[b'a'; 256]), Err(TarFault::NameTooLong));
        assert!(components(&[&b".wh."[..], &[b'a'; 255]].concat()).is_ok());
        assert_eq!(components(&b"a/".repeat(2048)), Err(TarFault::NameTooLong));
        assert_eq!(components(b"a\0b"), Err(TarFault::NulInName));
    }

    #[test]
    fn marks_are_read_from_the_last_component() {
        let cases: &[(&str, &[u8], Result<Mark<'_>, TarFault>)] = &[
            ("plain", b"a", Ok(Mark::Plain(b"a"))),
            ("close", b".wh", Ok(Mark::Plain(b".wh"))),
            ("whiteout", b".wh.a", Ok(Mark::Whiteout(b"a"))),
            ("opaque", b".wh..wh..opq", Ok(Mark::Opaque)),
            ("aufs", b".wh..wh.aufs", Ok(Mark::Whiteout(b".wh.aufs"))),
            ("hidden", b".wh..a", Ok(Mark::Whiteout(b".a"))),
            ("nothing", b".wh.", Err(TarFault::Whiteout)),
            ("dot", b".wh..", Err(TarFault::Whiteout)),
            ("dot dot", b".wh...", Err(TarFault::Whiteout)),
        ];
        for (why, component, expected) in cases {
            assert_eq!(Mark::of(component), *expected, "{why}");
        }
    }
}
