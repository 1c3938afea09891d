//! The marks of overlayfs and of container image tools, as pure rules over names.
//!
//! Sources: the kernel's `Documentation/filesystems/overlayfs.rst` (whiteouts and
//! opaque directories, nesting), and the whiteout files of the OCI image layer
//! specification.

use std::borrow::Cow;

/// The prefix of whiteout files.
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The file that makes its directory opaque.
const OPAQUE_FILE: &[u8] = b".wh..wh..opq";
/// The prefixes of overlayfs's own attributes.
const OVERLAY_PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// What an overlayfs inside a layer has put after the prefix of its own attributes.
const ESCAPE: &[u8] = b"overlay.";
/// The prefix of fuse-overlayfs's own attributes.
const FUSE_OVERLAYFS_PREFIX: &[u8] = b"user.fuseoverlayfs.";

/// What the name of a file says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameMark<'a> {
    /// Nothing: the name is an entry.
    None,
    /// The named entry of the layers below is hidden.
    Whiteout(&'a [u8]),
    /// The directory that holds this name is opaque.
    Opaque,
}

/// Returns what a name says.
pub(crate) fn name_mark(name: &[u8]) -> NameMark<'_> {
    if name == OPAQUE_FILE {
        return NameMark::Opaque;
    }
    name.strip_prefix(WHITEOUT_PREFIX)
        .map_or(NameMark::None, NameMark::Whiteout)
}

/// What the name of an overlayfs attribute means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum XattrMark {
    /// The directory may be opaque, as the value says.
    Opaque,
    /// The file is a whiteout, where its directory allows such.
    Whiteout,
    /// What the layers below have for this lies at another path.
    Redirect,
    /// The file has its contents in a layer below.
    Metacopy,
}

/// Returns what the name of an attribute means to the merge.
pub(crate) fn xattr_mark(name: &[u8]) -> Option<XattrMark> {
    if name == b"user.fuseoverlayfs.opaque" {
        return Some(XattrMark::Opaque);
    }
    let rest = OVERLAY_PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(*prefix))?;
    match rest {
        b"opaque" => Some(XattrMark::Opaque),
        b"whiteout" => Some(XattrMark::Whiteout),
        b"redirect" => Some(XattrMark::Redirect),
        b"metacopy" => Some(XattrMark::Metacopy),
        _ => None,
    }
}

/// Where the layers below have what a mark of a layer stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// At these names, one in the other, from the root of each layer.
    Absolute(Vec<Vec<u8>>),
    /// In the same directory, under this name.
    Relative(Vec<u8>),
}

impl Redirect {
    /// Returns what the value of a mark says, or `None` where it makes no sense.
    pub(crate) fn of_value(value: &[u8]) -> Option<Self> {
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        let names = |path: &[u8]| {
            let names = path.split(|byte| *byte == b'/');
            names
                .map(|name| is_name(name).then(|| name.to_vec()))
                .collect::<Option<_>>()
        };
        match value.strip_prefix(b"/") {
            Some(path) => names(path).map(Self::Absolute),
            None if value.contains(&b'/') || !is_name(value) => None,
            None => Some(Self::Relative(value.to_vec())),
        }
    }
}

/// Returns the name under which an attribute of a layer is shown, or `None` where
/// it is hidden: overlayfs's own, unless an overlayfs inside the layer wrote it.
pub(crate) fn shown_xattr(stored: &[u8]) -> Option<Cow<'_, [u8]>> {
    if stored.starts_with(FUSE_OVERLAYFS_PREFIX) {
        return None;
    }
    for prefix in OVERLAY_PREFIXES {
        if let Some(rest) = stored.strip_prefix(prefix) {
            return rest
                .strip_prefix(ESCAPE)
                .map(|rest| Cow::Owned([prefix, rest].concat()));
        }
    }
    Some(Cow::Borrowed(stored))
}

/// Returns the name that the layer has for a shown attribute, or `None` where none
/// can be shown under this name.
pub(crate) fn stored_xattr(shown: &[u8]) -> Option<Cow<'_, [u8]>> {
    if shown.starts_with(FUSE_OVERLAYFS_PREFIX) {
        return None;
    }
    for prefix in OVERLAY_PREFIXES {
        if let Some(rest) = shown.strip_prefix(prefix) {
            return Some(Cow::Owned([prefix, ESCAPE, rest].concat()));
        }
    }
    Some(Cow::Borrowed(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_marks() {
        for (why, name, mark) in [
            ("a plain name", &b"a"[..], NameMark::None),
            ("not at the start", b"a.wh.b", NameMark::None),
            ("a whiteout", b".wh.a", NameMark::Whiteout(b"a")),
            ("the opaque mark", b".wh..wh..opq", NameMark::Opaque),
            (
                "another aufs file hides nothing that is shown",
                b".wh..wh.plnk",
                NameMark::Whiteout(b".wh.plnk"),
            ),
        ] {
            assert_eq!(name_mark(name), mark, "{why}");
        }
    }

    #[test]
    fn redirects_lead_to_names() {
        let absolute = |names: &[&[u8]]| {
            let names = names.iter().map(|name| name.to_vec());
            Some(Redirect::Absolute(names.collect()))
        };
        for (why, value, expected) in [
            ("from the root", &b"/a"[..], absolute(&[b"a"])),
            ("deeper", b"/a/b", absolute(&[b"a", b"b"])),
            (
                "beside",
                b"a b\xff",
                Some(Redirect::Relative(b"a b\xff".to_vec())),
            ),
            ("nowhere", b"", None),
            ("the root itself", b"/", None),
            ("an empty name", b"/a//b", None),
            ("an empty name at the end", b"/a/", None),
            ("a relative path", b"a/b", None),
            ("upwards", b"..", None),
            ("upwards on the way", b"/a/../b", None),
            ("here", b".", None),
            ("a name that no file has", b"a\0b", None),
        ] {
            assert_eq!(Redirect::of_value(value), expected, "{why}");
        }
    }

    #[test]
    fn own_attributes_are_hidden_and_nested_ones_unescaped() {
        for (why, stored, shown) in [
            ("a user's", &b"user.a"[..], Some(&b"user.a"[..])),
            (
                "only looks alike",
                b"trusted.overlayfoo",
                Some(b"trusted.overlayfoo"),
            ),
            ("overlayfs's own", b"trusted.overlay.opaque", None),
            (
                "overlayfs's own, unprivileged",
                b"user.overlay.origin",
                None,
            ),
            ("fuse-overlayfs's own", b"user.fuseoverlayfs.origin", None),
            (
                "of a nested overlayfs",
                b"trusted.overlay.overlay.opaque",
                Some(b"trusted.overlay.opaque"),
            ),
            (
                "nested twice",
                b"user.overlay.overlay.overlay.x",
                Some(b"user.overlay.overlay.x"),
            ),
        ] {
            assert_eq!(shown_xattr(stored).as_deref(), shown, "{why}");
            if let Some(shown) = shown {
                assert_eq!(stored_xattr(shown).as_deref(), Some(stored), "{why}");
            }
        }
        assert_eq!(stored_xattr(b"user.fuseoverlayfs.x"), None);
    }
}
