//! One argument of `-o`: options between commas.

/// What a value in quotes may follow: podman quotes security labels, which hold commas.
const QUOTED: &[u8] = b"context=\"";

/// Returns the options of one argument, their escapes kept: a comma after an odd number of
/// backslashes, or in the quotes of a context, is part of a value. Empty ones are none.
pub(super) fn split_at_commas(argument: &[u8]) -> Vec<&[u8]> {
    let mut options = Vec::new();
    let mut rest = argument;
    while !rest.is_empty() {
        let (option, after) = rest.split_at(end_of_first(rest));
        if !option.is_empty() {
            options.push(option);
        }
        rest = after.get(1..).unwrap_or_default();
    }
    options
}

fn end_of_first(options: &[u8]) -> usize {
    let mut is_escaped = false;
    for (position, byte) in options.iter().enumerate().skip(quoted_part(options)) {
        match byte {
            b',' if !is_escaped => return position,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    options.len()
}

/// Returns the length of a name and its quoted value, if the first option begins so. A
/// quote that nothing closes is none.
fn quoted_part(options: &[u8]) -> usize {
    let name = options
        .split(|byte| *byte == b',')
        .next()
        .and_then(|first| first.windows(QUOTED.len()).position(|part| part == QUOTED))
        .filter(|name| options.iter().take(*name).all(u8::is_ascii_lowercase));
    let closed = name.and_then(|name| {
        let start = name + QUOTED.len();
        let value = options.get(start..)?;
        let length = value.iter().position(|byte| *byte == b'"')?;
        Some(start + length + 1)
    });
    closed.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_between_commas() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("nothing", "", &[]),
            (
                "several",
                "ro,lowerdir=a:b,x=",
                &["ro", "lowerdir=a:b", "x="],
            ),
            ("empty ones", ",a,,b,", &["a", "b"]),
            ("escaped", r"lowerdir=a\,b,c", &[r"lowerdir=a\,b", "c"]),
            ("twice", r"lowerdir=a\\\,b,c", &[r"lowerdir=a\\\,b", "c"]),
            ("a backslash", r"lowerdir=a\\,b", &[r"lowerdir=a\\", "b"]),
            (
                "a label",
                r#"a,context="u:o:t:s0:c1,c2",fscontext="x,y""#,
                &["a", r#"context="u:o:t:s0:c1,c2""#, r#"fscontext="x,y""#],
            ),
            ("an open quote", r#"context="a,b"#, &[r#"context="a"#, "b"]),
            (
                "a quote in a path",
                r#"lowerdir="a,upperdir=context="b,c"#,
                &[r#"lowerdir="a"#, r#"upperdir=context="b"#, "c"],
            ),
        ];
        for (why, argument, expected) in cases {
            let expected: Vec<&[u8]> = expected.iter().map(|text| text.as_bytes()).collect();
            assert_eq!(split_at_commas(argument.as_bytes()), expected, "{why}");
        }
    }
}
