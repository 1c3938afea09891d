//! One name of a directory, as a look-up or a listing takes it out.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Ino;
use crate::merge::Slot;
use crate::view::stack::{Found, join};

/// One name of a directory.
#[derive(Debug)]
pub(in crate::view) struct Named<'v> {
    /// Its position.
    pub(in crate::view) position: u64,
    /// The name.
    pub(in crate::view) name: Cow<'v, [u8]>,
    /// Where it stands among the names of a merged directory.
    pub(in crate::view) slot: Option<Slot>,
    /// What the uppermost layer holds for it.
    pub(in crate::view) found: Found,
    /// The `st_dev` and number of its inode, where the listing of a directory layer has them.
    pub(in crate::view) listed: Option<(u64, Ino)>,
    /// The path in that layer of the directory that holds it, where it is known.
    pub(in crate::view) above: Option<Arc<[u8]>>,
    /// Whether that is not the path of the directory in the view.
    pub(in crate::view) is_moved: bool,
}

impl Named<'_> {
    /// Returns the path of the directory that holds the name, in its layer.
    pub(in crate::view) fn above(&self) -> &[u8] {
        self.above.as_deref().unwrap_or_default()
    }

    /// Returns the path in its layer.
    pub(in crate::view) fn path(&self) -> Arc<[u8]> {
        join(self.above(), &self.name).into()
    }
}
