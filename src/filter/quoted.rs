//! Quoted text in Go's syntax, with two more kinds of quotes for expressions.

/// The quotes that are allowed somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// `"…"`
    Double,
    /// `"…"`, `/…/` and `|…|`
    Any,
}

/// Returns what stands between two quotes, or `None` when it cannot be read.
///
/// `\x` and octal escapes stand for bytes, which together must be UTF-8.
pub(super) fn unquote(text: &str) -> Option<String> {
    let quote = text.chars().next()?;
    let mut rest = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some(next) = rest.chars().next() {
        let escaped = rest.strip_prefix('\\');
        if let Some(escaped) = escaped {
            rest = unescape(escaped, quote, &mut bytes)?;
        } else if next == quote && quote == '"' {
            return None;
        } else {
            let (plain, tail) = rest.split_at(next.len_utf8());
            bytes.extend_from_slice(plain.as_bytes());
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads what follows a backslash; returns what follows that.
fn unescape<'t>(text: &'t str, quote: char, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let kind = text.chars().next()?;
    let tail = text.get(kind.len_utf8()..)?;
    let (digits, base, from) = match kind {
        'x' => (2, 16, tail),
        'u' => (4, 16, tail),
        'U' => (8, 16, tail),
        '0'..='7' => (3, 8, text),
        _ => {
            bytes.push(named(kind, quote)?);
            return Some(tail);
        }
    };
    let number = from.get(..digits)?;
    // `from_str_radix` would take a sign.
    if !number.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let number = u32::from_str_radix(number, base).ok()?;
    if matches!(kind, 'u' | 'U') {
        let mut buffer = [0; 4];
        // Go encodes half of a surrogate pair as the replacement character.
        let character = match char::from_u32(number) {
            None if number > char::MAX.into() => return None,
            found => found.unwrap_or(char::REPLACEMENT_CHARACTER),
        };
        bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    } else {
        bytes.push(u8::try_from(number).ok()?);
    }
    from.get(digits..)
}

fn named(kind: char, quote: char) -> Option<u8> {
    Some(match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        _ if kind == quote => u8::try_from(kind).ok()?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text() {
        let table = [
            (r#""""#, Some("")),
            (r#""a.b/c d""#, Some("a.b/c d")),
            (r#""\"\\\n\t""#, Some("\"\\\n\t")),
            (r#""\x41\101\u00e9\U0001F600""#, Some("AA\u{e9}\u{1f600}")),
            (r#""\xc3\xa9""#, Some("\u{e9}")),
            (r#""\ud800""#, Some("\u{fffd}")),
            (r"/a\/b/", Some("a/b")),
            (r"|a\|b/|", Some("a|b/")),
            (r#"/a"b/"#, Some("a\"b")),
            (r#""\/""#, None),
            (r#""\xff""#, None),
            (r#""\777""#, None),
            (r#""\x4""#, None),
            (r#""\x+4""#, None),
            (r#""\U00110000""#, None),
            (r#""a"b""#, None),
            (r#"""#, None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(unquote(text).as_deref(), expected, "{text}");
        }
    }
}
