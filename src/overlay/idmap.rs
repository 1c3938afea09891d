//! The text of `uidmapping` and `gidmapping`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use mica_fuse::{IdMap, IdRange};

use super::OverlayError;

/// Returns the map of a text `DISK:SHOWN:COUNT[:DISK:SHOWN:COUNT...]`. Empty fields are
/// none: podman begins with a colon.
pub(super) fn parse(text: &OsStr) -> Result<IdMap, OverlayError> {
    let invalid = || OverlayError::Mapping(text.to_owned());
    let numbers = text
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|field| !field.is_empty())
        .map(|field| std::str::from_utf8(field).ok()?.parse().ok())
        .collect::<Option<Vec<u32>>>()
        .ok_or_else(invalid)?;
    let mut ranges = Vec::new();
    for triple in numbers.chunks(3) {
        let &[disk, shown, count] = triple else {
            return Err(invalid());
        };
        ranges.push(IdRange { disk, shown, count });
    }
    IdMap::new(ranges).map_err(|source| OverlayError::Ids {
        text: text.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ids() {
        let map = |text: &str| parse(OsStr::new(text)).unwrap();
        assert_eq!(map("0:100000:65536").shown(5), 100_005);
        assert_eq!(map(":0:100000:65536"), map("0:100000:65536"), "podman's");
        let two = map(":0:1000:1:1:100000:65536");
        assert_eq!((two.shown(0), two.shown(2)), (1000, 100_001));
        assert!(map("").is_identity(), "as without");
    }

    #[test]
    fn texts_that_are_no_ranges() {
        for text in [
            "0:1",
            "0:1:2:3",
            "a:1:2",
            "0:-1:2",
            "0:1:4294967296",
            "0 :1:2",
        ] {
            let error = parse(OsStr::new(text)).unwrap_err();
            let message = format!("invalid mapping specified: {text}");
            assert_eq!(error.to_string(), message);
        }
        assert!(matches!(
            parse(OsStr::new("1:0:4294967295")),
            Err(OverlayError::Ids { .. })
        ));
    }
}
