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
    /// The directory continues at another path of the layers below.
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
