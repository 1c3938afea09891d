//! The merge of a chain of layers, as pure rules over what each layer holds.
//!
//! [`resolve`] says what one name is, [`merge`] does the same for all names of a
//! directory at once. Both cite the numbered rules of `semantics.md`. Nothing here
//! reads a file; the caller collects what the layers hold, uppermost first.

mod listing;

pub(crate) use listing::{MergedNames, Slot, count_subdirectories, merge};

/// What one layer holds for a name. A layer that holds nothing is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// A mark that hides the name in the layers below (rule 2).
    Whiteout,
    /// A directory, which merges with the ones below unless it is opaque (rules 3, 4).
    Directory {
        /// Whether it hides what the layers below hold in it.
        opaque: bool,
    },
    /// Anything else (rule 5).
    NonDirectory,
}

/// What a name is in the merged view. `T` tells the layers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution<T> {
    /// The name is not there.
    Absent,
    /// Something that is no directory, from this layer.
    NonDirectory(T),
    /// A directory, to which these layers contribute, uppermost first.
    Directory(Vec<T>),
}

/// How far the resolution of a name has come, going down through the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No layer has said anything.
    #[default]
    Open,
    /// It is a directory, and layers below may contribute to it.
    Merging,
    /// Layers below have no say.
    Settled,
}

impl Standing {
    /// Takes what the next layer that has the name holds; returns whether that is a part of
    /// what is shown.
    pub(crate) fn take(&mut self, held: Held) -> bool {
        let (next, is_part) = match (*self, held) {
            (Self::Settled, _) => (Self::Settled, false),
            (Self::Open | Self::Merging, Held::Directory { opaque: false }) => {
                (Self::Merging, true)
            }
            (Self::Open | Self::Merging, Held::Directory { opaque: true })
            | (Self::Open, Held::NonDirectory) => (Self::Settled, true),
            (Self::Open | Self::Merging, Held::Whiteout) | (Self::Merging, Held::NonDirectory) => {
                (Self::Settled, false)
            }
        };
        *self = next;
        is_part
    }
}

/// Returns what a name is, given what the layers that hold it have for it, uppermost
/// first. Layers below one that settles the matter are not asked.
pub(crate) fn resolve<T>(held: impl IntoIterator<Item = (T, Held)>) -> Resolution<T> {
    let mut standing = Standing::default();
    let mut contributors = Vec::new();
    for (layer, held) in held {
        if standing.take(held) {
            if held == Held::NonDirectory {
                return Resolution::NonDirectory(layer);
            }
            contributors.push(layer);
        }
        if standing == Standing::Settled {
            break;
        }
    }
    if contributors.is_empty() {
        Resolution::Absent
    } else {
        Resolution::Directory(contributors)
    }
}

#[cfg(test)]
mod tests {
    use super::Held::{Directory, NonDirectory, Whiteout};
    use super::*;

    const MERGES: Held = Directory { opaque: false };
    const OPAQUE: Held = Directory { opaque: true };

    #[test]
    fn a_name_is_what_the_rules_say() {
        let cases: &[(&str, &[Held], Resolution<usize>)] = &[
            ("rule 1: nobody has it", &[], Resolution::Absent),
            (
                "rule 1: the uppermost wins",
                &[NonDirectory, NonDirectory],
                Resolution::NonDirectory(0),
            ),
            (
                "rule 2: a whiteout hides",
                &[Whiteout, NonDirectory],
                Resolution::Absent,
            ),
            (
                "rule 2: a whiteout hides a directory",
                &[Whiteout, MERGES],
                Resolution::Absent,
            ),
            (
                "rule 2: not what is above it",
                &[NonDirectory, Whiteout],
                Resolution::NonDirectory(0),
            ),
            (
                "rule 2: cuts a merge",
                &[MERGES, Whiteout, MERGES],
                Resolution::Directory(vec![0]),
            ),
            (
                "rule 3: directories merge",
                &[MERGES, MERGES, MERGES],
                Resolution::Directory(vec![0, 1, 2]),
            ),
            (
                "rule 4: opaque cuts below itself",
                &[MERGES, OPAQUE, MERGES],
                Resolution::Directory(vec![0, 1]),
            ),
            (
                "rule 4: opaque uppermost",
                &[OPAQUE, MERGES],
                Resolution::Directory(vec![0]),
            ),
            (
                "rule 5: a file cuts a merge",
                &[MERGES, NonDirectory, MERGES],
                Resolution::Directory(vec![0]),
            ),
            (
                "rule 5: a file shadows a directory",
                &[NonDirectory, MERGES],
                Resolution::NonDirectory(0),
            ),
        ];
        for (why, held, expected) in cases {
            assert_eq!(
                resolve(held.iter().copied().enumerate()),
                *expected,
                "{why}"
            );
        }
    }

    #[test]
    fn a_layer_below_a_cut_is_never_asked() {
        for cut in [Whiteout, NonDirectory, OPAQUE] {
            let held = [cut]
                .into_iter()
                .chain(std::iter::from_fn(|| panic!("asked below {cut:?}")));
            resolve(held.enumerate());
        }
    }
}
