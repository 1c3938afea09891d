//! The numbers of tar headers: octal, base 256, decimal, and times.

use crate::Timestamp;

/// Returns the number of a header field: octal digits padded with spaces or NULs,
/// or two's complement in base 256 where the first bit is set. An empty field is 0.
pub(crate) fn numeric(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_padding(byte));
    let Some(start) = start else { return Some(0) };
    let digits = field.get(start..)?;
    let end = digits.iter().position(is_padding).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    // What follows a NUL is nobody's; after a space only padding may come.
    if rest.first() == Some(&b' ') && !rest.iter().all(is_padding) {
        return None;
    }
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn base256(field: &[u8]) -> Option<i64> {
    let is_negative = field.first()? & 0x40 != 0;
    let flip = if is_negative { 0xff } else { 0 };
    let magnitude = field
        .iter()
        .enumerate()
        .try_fold(0u64, |value, (index, byte)| {
            let byte = (byte ^ flip) & if index == 0 { 0x7f } else { 0xff };
            (value >> 56 == 0).then_some(value << 8 | u64::from(byte))
        })?;
    let magnitude = i64::try_from(magnitude).ok()?;
    Some(if is_negative { !magnitude } else { magnitude })
}

/// Returns the number of a PAX record: decimal, with an optional sign.
pub(crate) fn decimal(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = signed(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |value, digit| {
        let digit = i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        let value = value.checked_mul(10)?;
        if is_negative {
            value.checked_sub(digit)
        } else {
            value.checked_add(digit)
        }
    })
}

/// Returns the time of a PAX record: decimal seconds with an optional fraction, of
/// which nine digits count.
pub(crate) fn time(text: &[u8]) -> Option<Timestamp> {
    let dot = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (text.get(..dot)?, text.get(dot + 1..)?),
        None => (text, &[][..]),
    };
    let seconds = decimal(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = fraction
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(9)
        .fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let (is_negative, _) = signed(text);
    if is_negative && nanoseconds > 0 {
        let seconds = seconds.checked_sub(1)?;
        return Some(Timestamp {
            seconds,
            nanoseconds: 1_000_000_000 - nanoseconds,
        });
    }
    Some(Timestamp {
        seconds,
        nanoseconds,
    })
}

fn signed(text: &[u8]) -> (bool, &[u8]) {
    match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a str, &'a [u8], Option<(i64, u32)>);

    #[test]
    fn fields_are_octal_or_base_256() {
        let cases: &[(&str, &[u8], Option<i64>)] = &[
            ("empty", b"\0\0\0\0", Some(0)),
            ("spaces", b"        ", Some(0)),
            ("usual", b"0000644\0", Some(0o644)),
            ("space then NUL", b"000644 \0", Some(0o644)),
            ("leading spaces", b"   644 \0", Some(0o644)),
            ("no terminator", b"77777777777", Some(0o77_777_777_777)),
            ("garbage after NUL", b"644\0zzz\0", Some(0o644)),
            ("garbage after space", b"644 zzz\0", None),
            ("digit 8", b"0000648\0", None),
            ("minus", b"-000644\0", None),
            ("letters", b"abcdefg\0", None),
            ("base 256", b"\x80\0\0\0\0\0\x01\x02", Some(258)),
            ("base 256, -1", &[0xff; 12], Some(-1)),
            (
                "base 256, -258",
                b"\xff\xff\xff\xff\xff\xff\xfe\xfe",
                Some(-258),
            ),
            (
                "largest",
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            ("one more", b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            ("65 bits", b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (
                "smallest",
                b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0",
                Some(i64::MIN),
            ),
        ];
        for (why, field, expected) in cases {
            assert_eq!(numeric(field), *expected, "{why}");
        }
    }

    #[test]
    fn records_are_decimal() {
        let cases: &[(&str, &[u8], Option<i64>)] = &[
            ("zero", b"0", Some(0)),
            ("plain", b"1234", Some(1234)),
            ("plus", b"+7", Some(7)),
            ("minus", b"-7", Some(-7)),
            ("largest", b"9223372036854775807", Some(i64::MAX)),
            ("smallest", b"-9223372036854775808", Some(i64::MIN)),
            ("too large", b"9223372036854775808", None),
            ("empty", b"", None),
            ("sign alone", b"-", None),
            ("space", b" 1", None),
            ("hexadecimal", b"0x10", None),
        ];
        for (why, text, expected) in cases {
            assert_eq!(decimal(text), *expected, "{why}");
        }
    }

    #[test]
    fn times_have_fractions() {
        let cases: &[Case<'_>] = &[
            ("whole", b"1350244992", Some((1_350_244_992, 0))),
            (
                "fraction",
                b"1350244992.023960108",
                Some((1_350_244_992, 23_960_108)),
            ),
            ("short fraction", b"1.5", Some((1, 500_000_000))),
            (
                "long fraction is cut",
                b"1.1234567899",
                Some((1, 123_456_789)),
            ),
            ("dot alone", b"1.", Some((1, 0))),
            ("negative", b"-1.5", Some((-2, 500_000_000))),
            ("between -1 and 0", b"-0.25", Some((-1, 750_000_000))),
            ("negative whole", b"-3", Some((-3, 0))),
            ("no digits", b".5", None),
            ("sign in fraction", b"1.-5", None),
            ("letters", b"1.5s", None),
            ("smallest with fraction", b"-9223372036854775808.5", None),
        ];
        for (why, text, expected) in cases {
            let time = time(text).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(time, *expected, "{why}");
        }
    }
}
