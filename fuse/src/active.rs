//! The writable view: an upper over the read-only view of the layers below.
//!
//! The layers below are one [`View`], asked by its node numbers; whiteouts and opaque
//! directories of the upper cut all of it at once. What is changed is first copied up.

mod upper;

pub use upper::{Upper, UpperOptions, XattrSpace};

use rustix::io::Errno;

use crate::{Error, Layer, NodeId, Operation, Reply, Request, Result, View, ViewOptions};

/// The merged tree of a chain of layers and an upper.
#[derive(Debug)]
pub struct ActiveView {
    lower: View,
    #[expect(dead_code, reason = "nothing is written yet")]
    upper: Upper,
}

impl ActiveView {
    /// Makes the view of an upper over layers, the uppermost layer first.
    pub fn open(layers: Vec<Layer>, upper: Upper, options: ViewOptions) -> Result<Self> {
        Ok(Self {
            lower: View::open(layers, options)?,
            upper,
        })
    }

    /// Returns whether a node may have extended attributes.
    pub fn has_xattrs(&self) -> bool {
        true
    }

    /// Returns where a node lies, for messages.
    pub fn describe(&self, node: NodeId) -> String {
        self.lower.describe(node)
    }

    /// Returns whether the answer may wait for a file system.
    pub(crate) fn reads_a_file(&self, request: &Request<'_>) -> bool {
        !matches!(request.operation, Operation::Lookup { .. })
    }

    /// Answers a request, as [`View::answer`].
    pub fn answer(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        if request.operation.is_change() {
            return Err(Error::Refused(Errno::ROFS));
        }
        self.lower.answer(request)
    }
}
