//! What a machine has of what mica needs, and what to do about the rest.
//!
//! Nothing is changed: a store that is not there is not made. What only makes mica faster,
//! or is needed for some commands only, is a note and no fault.

mod fuse;
mod kernel;
mod registries;
mod store;
mod users;

use std::path::Path;

use serde::Serialize;

pub use registries::check_registry;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub subject: String,
    /// How it is.
    pub state: Health,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Something is slower, or some commands do not work.
    Note,
    /// Something has to be done.
    Bad,
}

impl Finding {
    pub(crate) fn ok(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            state: Health::Ok,
            detail: detail.into(),
            advice: None,
        }
    }

    pub(crate) fn note(
        subject: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            state: Health::Note,
            advice: Some(advice.into()),
            ..Self::ok(subject, detail)
        }
    }

    pub(crate) fn bad(
        subject: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            state: Health::Bad,
            ..Self::note(subject, detail, advice)
        }
    }
}

/// Looks at the machine, and at the store at `root`.
pub fn examine(root: &Path) -> Vec<Finding> {
    let mut findings = vec![fuse::device(), fuse::helper(), fuse::others()];
    findings.extend([kernel::fuse(), kernel::rings(), kernel::passthrough()]);
    findings.extend([users::namespaces(), users::subordinate_ids()]);
    findings.extend(store::examine(root));
    findings
}
