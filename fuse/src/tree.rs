//! What a session shows, and how it is made to look.
//!
//! Owners are translated here and nowhere else: a view knows only those on disk. So are
//! callers, on the way in: what they make belongs to their id on disk. The ids within
//! access control lists are not translated.

mod appearance;
mod by_xattr;
mod owners;

pub use appearance::Appearance;
pub use owners::Owners;

use std::fmt;
use std::time::Duration;

use rustix::io::Errno;

use crate::kernel::notify::Notifier;
use crate::{ActiveView, DiffView, Error, NodeId, Operation, Reply, Request, Result, View};

/// A tree that can be mounted: read-only or writable.
#[derive(Debug)]
pub struct Tree {
    views: Views,
    appearance: Appearance,
    _held: Option<Box<dyn Held>>,
}

/// What is only kept.
trait Held: fmt::Debug + Send + Sync {}

impl<T: fmt::Debug + Send + Sync> Held for T {}

/// What is behind a tree.
#[derive(Debug)]
enum Views {
    /// A chain of layers.
    View(Box<View>),
    /// The uppermost layer of a chain alone.
    Diff(Box<DiffView>),
    /// An upper over a chain of layers.
    Active(Box<ActiveView>),
}

impl Tree {
    /// Returns the tree made to look in another way.
    #[must_use]
    pub fn with_appearance(self, appearance: Appearance) -> Self {
        Self { appearance, ..self }
    }

    /// Returns the tree, which keeps a value until it is dropped itself: a lock on what it
    /// shows.
    #[must_use]
    pub fn holding(self, held: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            _held: Some(Box::new(held)),
            ..self
        }
    }

    /// Answers a request, as [`View::answer`].
    pub fn answer(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        let is_about_xattrs = matches!(
            request.operation,
            Operation::GetXattr { .. }
                | Operation::ListXattr { .. }
                | Operation::SetXattr { .. }
                | Operation::RemoveXattr { .. }
        );
        if is_about_xattrs && !self.appearance.xattrs {
            return Err(Error::Refused(Errno::NOSYS));
        }
        if self.appearance.by_xattr
            && let Some(answer) = self.answer_by_xattr(request)
        {
            return answer;
        }
        if self.appearance.is_plain() {
            return self.answer_on_disk(request);
        }
        let reply = self.answer_on_disk(&appearance::on_disk(&self.appearance.ids, request))?;
        Ok(appearance::shown(&self.appearance, reply))
    }

    /// Returns how long what is answered may be kept.
    pub(crate) fn timeout(&self) -> Duration {
        self.appearance.timeout
    }

    fn of(views: Views) -> Self {
        Self {
            views,
            appearance: Appearance::default(),
            _held: None,
        }
    }

    fn answer_on_disk(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        match &self.views {
            Views::View(view) => view.answer(request),
            Views::Diff(diff) => diff.answer(request),
            Views::Active(active) => active.answer(request),
        }
    }

    /// Returns whether a node may have extended attributes.
    pub fn has_xattrs(&self) -> bool {
        self.appearance.xattrs
            && match &self.views {
                Views::View(view) => view.has_xattrs(),
                Views::Diff(diff) => diff.whole().has_xattrs(),
                Views::Active(_) => true,
            }
    }

    /// Returns whether anything can be changed.
    pub fn is_writable(&self) -> bool {
        self.active().is_some()
    }

    /// Returns whether all numbers of nodes say by themselves what they are, to any process
    /// that shows the same layers.
    pub fn is_derived(&self) -> bool {
        match &self.views {
            Views::View(view) => view.is_derived(),
            Views::Diff(_) | Views::Active(_) => false,
        }
    }

    /// Returns the view that can be changed, if it is one.
    pub(crate) fn active(&self) -> Option<&ActiveView> {
        match &self.views {
            Views::View(_) | Views::Diff(_) => None,
            Views::Active(active) => Some(active),
        }
    }

    /// Lets the tree tell the kernel what is no longer as it was told.
    pub(crate) fn set_notifier(&self, notifier: Notifier) {
        match &self.views {
            Views::View(view) => view.set_notifier(notifier),
            Views::Diff(_) => {}
            Views::Active(active) => active.set_notifier(notifier),
        }
    }

    /// Returns where a node lies, for messages.
    pub fn describe(&self, node: NodeId) -> String {
        match &self.views {
            Views::View(view) => view.describe(node),
            Views::Diff(diff) => diff.whole().describe(node),
            Views::Active(active) => active.describe(node),
        }
    }

    /// Returns whether the answer may wait for a file system.
    pub(crate) fn may_wait(&self, request: &Request<'_>) -> bool {
        match &self.views {
            Views::View(view) => view.reads_a_file(request),
            Views::Diff(diff) => diff.whole().reads_a_file(request),
            Views::Active(active) => active.may_wait(request),
        }
    }
}

impl From<View> for Tree {
    fn from(view: View) -> Self {
        Self::of(Views::View(Box::new(view)))
    }
}

impl From<DiffView> for Tree {
    fn from(diff: DiffView) -> Self {
        Self::of(Views::Diff(Box::new(diff)))
    }
}

impl From<ActiveView> for Tree {
    fn from(active: ActiveView) -> Self {
        Self::of(Views::Active(Box::new(active)))
    }
}
