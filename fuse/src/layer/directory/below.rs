//! What a directory of a layer says of the layers below, for who writes the layer in another
//! form.

use super::DirectoryLayer;
use crate::Result;
use crate::layer::Kind;

/// What a directory of a layer says of the layers below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryMarks {
    /// Whether nothing shows of what they have in it.
    pub opaque: bool,
    /// Whether what they have for it lies elsewhere.
    pub redirected: bool,
    /// The names in it that they may have and that do not show, sorted.
    pub whiteouts: Vec<Vec<u8>>,
    /// The directories in it of which nothing shows that they have, besides those that say so
    /// themselves; sorted.
    pub opaque_directories: Vec<Vec<u8>>,
}

impl DirectoryLayer {
    /// Returns what the directory at a path says of the layers below.
    pub fn directory_marks(&self, path: &[u8]) -> Result<DirectoryMarks> {
        let listing = self.list(path)?;
        let mut marks = DirectoryMarks {
            opaque: listing.opaque,
            redirected: listing.redirect.is_some(),
            ..DirectoryMarks::default()
        };
        for position in 0..listing.len() {
            match listing.at(position)? {
                (name, Kind::Whiteout) => marks.whiteouts.push(name.to_vec()),
                (name, Kind::RealDirectory { opaque: true }) => {
                    marks.opaque_directories.push(name.to_vec());
                }
                _ => {}
            }
        }
        Ok(marks)
    }
}
