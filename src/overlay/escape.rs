//! Backslashes in the values of options.
//!
//! fuse-overlayfs takes away one level of them with the commas and another with the
//! colons, newer ones and the kernel only one. Here a value may be escaped once or twice:
//! one to three backslashes make the next character part of the name, and every four
//! before them are a backslash of the name. A single one before a character that needs
//! none is part of the name, unless three octal digits follow, which are a byte.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// How many backslashes two levels make of one.
const DOUBLED: usize = 4;

/// Returns a value without its escapes.
pub(super) fn unescape(value: &[u8]) -> PathBuf {
    pieces(value, None).pop().unwrap_or_default()
}

/// Returns the paths between colons, without their escapes; empty ones are none.
pub(super) fn split_at_colons(value: &[u8]) -> Vec<PathBuf> {
    let mut paths = pieces(value, Some(b':'));
    paths.retain(|path| !path.as_os_str().is_empty());
    paths
}

fn pieces(value: &[u8], separator: Option<u8>) -> Vec<PathBuf> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let run = rest.iter().take_while(|byte| **byte == b'\\').count();
        let after = rest.get(run..).unwrap_or_default();
        if let Some(byte) = octal(after).filter(|_| run == 1) {
            piece.push(byte);
            rest = after.get(3..).unwrap_or_default();
            continue;
        }
        let next = after.first().copied();
        let is_special = matches!(next, Some(b':' | b','));
        let backslashes = if is_special {
            run / DOUBLED
        } else {
            run.div_ceil(DOUBLED)
        };
        piece.extend(std::iter::repeat_n(b'\\', backslashes));
        if next.is_some() && next == separator && run % DOUBLED == 0 {
            pieces.push(std::mem::take(&mut piece));
        } else {
            piece.extend(next);
        }
        rest = after.get(1..).unwrap_or_default();
    }
    pieces.push(piece);
    pieces
        .into_iter()
        .map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
        .collect()
}

/// Returns the byte that three octal digits are, as libfuse takes them.
fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.get(..3)?;
    let text = std::str::from_utf8(digits).ok()?;
    if digits.iter().all(|digit| matches!(digit, b'0'..=b'7')) {
        u8::from_str_radix(text, 8).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowers_between_colons() {
        let cases: [(&str, &str, &[&str]); 14] = [
            ("one", "/a", &["/a"]),
            ("leftmost first", "/a:b:c d", &["/a", "b", "c d"]),
            ("empty ones are none", ":/a::/b:", &["/a", "/b"]),
            ("nothing", "", &[]),
            ("escaped", r"/a\:b:/c", &["/a:b", "/c"]),
            (
                "escaped twice, as by a shell",
                r"/a\\:b:/c",
                &["/a:b", "/c"],
            ),
            ("escaped twice, all", r"/a\\\:b:/c", &["/a:b", "/c"]),
            ("a backslash at the end", r"/a\\\\:b", &[r"/a\", "b"]),
            ("both", r"/a\\\\\\:b", &[r"/a\:b"]),
            ("escaped comma", r"/a\,b:c\\\,d", &["/a,b", "c,d"]),
            ("escaped backslash", r"/a\\b:/a\\\\b", &[r"/a\b", r"/a\b"]),
            ("a backslash that nobody escaped", r"/a\b", &[r"/a\b"]),
            ("octal", r"/a\040b\072c:d", &["/a b:c", "d"]),
            ("at the very end", r"/a\", &[r"/a\"]),
        ];
        for (why, value, expected) in cases {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(split_at_colons(value.as_bytes()), expected, "{why}");
        }
    }

    #[test]
    fn single_paths() {
        let cases = [
            ("a colon needs no escape", "/a:b", "/a:b"),
            ("and may have one", r"/a\:b\,c", "/a:b,c"),
            ("or two", r"/a\\:b", "/a:b"),
            ("not octal", r"/a\999", r"/a\999"),
            ("no byte", r"/a\777", r"/a\777"),
        ];
        for (why, value, expected) in cases {
            assert_eq!(unescape(value.as_bytes()), PathBuf::from(expected), "{why}");
        }
    }
}
