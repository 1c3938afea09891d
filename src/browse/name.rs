//! Names of images, layers, snapshots and blobs as names of files.
//!
//! `/` becomes `+` and `:` becomes `,`. ASCII letters, digits, `.`, `_`, `-` and letters of
//! other scripts stay; every other byte, and a `.` or `-` at the beginning, is `%` and two
//! hexadecimal digits. A name that is then longer than a file's can be ends with `%~` and 16
//! hexadecimal digits of its SHA-256. So a name is nothing that a shell or its completion
//! takes for more than a name, no two names are one, and all but the longest can be read
//! back.

use sha2::{Digest as _, Sha256};

/// The longest name of a file, in bytes.
const LONGEST: usize = 255;
/// Bytes of a name that is cut which stay at least.
const KEPT: usize = LONGEST - 2 - 16;

/// Returns the name of a file.
pub(super) fn shown(name: &str) -> Vec<u8> {
    let mut shown = String::new();
    let mut cut = 0;
    for (position, letter) in name.char_indices() {
        match letter {
            '/' => shown.push('+'),
            ':' => shown.push(','),
            '.' | '-' if position == 0 => escape(letter, &mut shown),
            '.' | '_' | '-' => shown.push(letter),
            letter if letter.is_alphanumeric() => shown.push(letter),
            letter => escape(letter, &mut shown),
        }
        if shown.len() <= KEPT {
            cut = shown.len();
        }
    }
    if shown.len() > LONGEST {
        shown.truncate(cut);
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let start = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
        let digits = format!("{start:016x}");
        shown.push_str("%~");
        shown.push_str(&digits);
    }
    shown.into_bytes()
}

/// Returns the name that a file stands for, if it stands for one and tells it.
pub(super) fn original(file: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    let mut rest = file.iter();
    while let Some(byte) = rest.next() {
        name.push(match byte {
            b'+' => b'/',
            b',' => b':',
            b'%' => {
                let digits = [*rest.next()?, *rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(name)
        .ok()
        .filter(|name| shown(name) == file)
}

fn escape(letter: char, shown: &mut String) {
    let mut bytes = [0; 4];
    for byte in letter.encode_utf8(&mut bytes).bytes() {
        let digits = format!("{byte:02X}");
        shown.push('%');
        shown.push_str(&digits);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_mapped_in_one_way() {
        let cases = [
            ("docker.io/library/debian:12", "docker.io+library+debian,12"),
            ("localhost:5000/a@sha256:00", "localhost,5000+a%40sha256,00"),
            ("/tmp/a b", "+tmp+a%20b"),
            (".", "%2E"),
            ("..", "%2E."),
            ("-rf", "%2Drf"),
            ("50%+,", "50%25%2B%2C"),
            ("größe", "größe"),
            ("a\n\u{85}", "a%0A%C2%85"),
        ];
        for (name, file) in cases {
            assert_eq!(String::from_utf8(shown(name)).unwrap(), file);
            assert_eq!(original(file.as_bytes()).as_deref(), Some(name));
        }
    }

    #[test]
    fn files_that_stand_for_no_name() {
        for (why, file) in [
            ("written in another way", &b"%61"[..]),
            ("a dot first", b".git"),
            ("lower case digits", b"%2e"),
            ("cut off", b"a%2"),
            ("not text", b"%FF"),
            ("a blank", b"a b"),
            ("a cut name", b"aaa%~0123456789abcdef"),
        ] {
            assert_eq!(original(file), None, "{why}");
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let [one, other] = ["a", "b"].map(|end| format!("{}{end}", "ä/".repeat(150)));
        let [one, other] = [one, other].map(|name| shown(&name));
        assert!(one.len() <= LONGEST && std::str::from_utf8(&one).is_ok());
        assert_ne!(one, other);
        assert_eq!(shown(&"x".repeat(255)).len(), 255);
        assert_eq!(shown(&"x".repeat(256)).len(), 255);
    }

    proptest! {
        #[test]
        fn a_name_is_one_file_and_is_read_back(name in "\\PC{1,80}|[-a-z:/@.+,%~ ]{1,100}") {
            let file = shown(&name);
            prop_assert!(!file.contains(&b'/') && !file.starts_with(b".") && file.len() <= LONGEST);
            if !file.windows(2).any(|pair| pair == b"%~") {
                prop_assert_eq!(original(&file), Some(name));
            }
        }
    }
}
