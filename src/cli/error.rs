//! What the user reads when a command fails.

use std::io::{self, Write as _};
use std::path::PathBuf;

use thiserror::Error;

use crate::anatomy::AnatomyError;
use crate::causes::{causes, hint_of_causes};
use crate::check::CheckError;
use crate::client::ClientError;
use crate::commit::CommitError;
use crate::content::ContentError;
use crate::daemon::DaemonError;
use crate::diff::DiffError;
use crate::events::EventsError;
use crate::explore::ExploreError;
use crate::export::ExportError;
use crate::filter::FilterError;
use crate::gc::GcError;
use crate::images::ImageError;
use crate::layers::LayerError;
use crate::leases::LeaseError;
use crate::meta::MetaError;
use crate::mounts::MountsError;
use crate::named::NamedError;
use crate::namespaces::NamespaceError;
use crate::oci::Platform;
use crate::overlay::OverlayError;
use crate::prune::PruneError;
use crate::pull::PullError;
use crate::push::PushError;
use crate::registry;
use crate::run::{FAILED, RunError};
use crate::serve::ServeError;
use crate::snapshots::SnapshotError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::views::ViewsError;

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum CliError {
    #[error("write results")]
    Output(#[source] io::Error),
    #[error("write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("resolve {}", path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error("{} cannot be the key of a snapshot", .0.display())]
    Key(PathBuf),
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
    #[error("interrupted")]
    Interrupted,
    #[error("{failed} of {total} layers are damaged")]
    Damaged { failed: usize, total: usize },
    #[error("{0} images and snapshots are unused, and there is no terminal to ask on")]
    NotAsked(usize),
    #[error("nothing in the store is called {0:?}")]
    NothingOfThatName(String),
    #[error("{0} things have to be done")]
    Unwell(usize),
    #[error("{0} faults in the store")]
    Faults(usize),
    #[error(transparent)]
    Check(#[from] Box<CheckError>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Gc(#[from] GcError),
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Named(#[from] NamedError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Anatomy(#[from] AnatomyError),
    #[error(transparent)]
    Explore(#[from] ExploreError),
    #[error("this needs a terminal")]
    NoTerminal,
    #[error(transparent)]
    Diff(#[from] DiffError),
    #[error("SOURCE_DATE_EPOCH is not a number of seconds: {0:?}")]
    Epoch(std::ffi::OsString),
    #[error(transparent)]
    Mounts(#[from] MountsError),
    #[error(transparent)]
    Views(#[from] ViewsError),
    #[error(transparent)]
    Prune(#[from] PruneError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Events(#[from] EventsError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Api(#[from] ClientError),
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Pull(#[from] Box<PullError>),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error("an archive is not written to a terminal")]
    Terminal,
    #[error("read stdin")]
    Input(#[source] io::Error),
    #[error("a name is for one image, and there are {0}")]
    Names(usize),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    NotRun(Box<CliError>),
    #[error("image {image:?} is for {}, not for {}", platforms.0, platforms.1)]
    Platform {
        image: String,
        platforms: Box<(Platform, Platform)>,
    },
}

impl CliError {
    /// Says whether whoever reads the results wanted no more of them.
    pub(super) fn is_closed_output(&self) -> bool {
        matches!(
            self,
            Self::Output(error) | Self::Export(ExportError::Output(error))
                if error.kind() == io::ErrorKind::BrokenPipe
        )
    }

    /// Returns what the user may do about it.
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Store(StoreError::Newer { .. }) => {
                Some("use the newer release of mica that made this store, or another --root")
            }
            Self::Store(StoreError::Foreign { .. } | StoreError::Version { .. }) => {
                Some("name an empty directory, or one that mica has made, by --root")
            }
            Self::Store(StoreError::NoAttributes { .. }) => {
                Some("name a directory on ext4, xfs, btrfs or the like by --root")
            }
            Self::Store(StoreError::Homeless) => Some("name a directory by --root"),
            Self::NoTerminal => Some("`mica layers` tells of an image without one"),
            Self::NothingOfThatName(_) => Some("`mica gc --dry-run` lists all that there is"),
            Self::Image(error) => error.hint(),
            Self::Content(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Diff(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Pull(error) => error.hint(),
            Self::Api(error) => error.hint(),
            Self::Named(error) => error.hint(),
            Self::Lease(error) => error.hint(),
            Self::Commit(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Push(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Names(_) => {
                Some("without --name they get the names that they were exported with")
            }
            Self::Terminal => Some("name a file by -o, or send stdout to one"),
            Self::Serve(error) => error.hint(),
            Self::Mounts(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::NotRun(error) => error.hint(),
            Self::Platform { .. } => {
                Some("pull it for this machine, or run it all the same with its own --platform")
            }
            Self::Overlay(error) => error.hint(),
            Self::NotAsked(_) => Some("`--dry-run` lists them, `--yes` removes them"),
            Self::Key(_) => Some("name the snapshot by --key"),
            Self::Damaged { .. } => Some("pull the images that use them again"),
            Self::Interrupted => Some("the same command goes on where this one has stopped"),
            Self::Faults(_) => Some("`mica check --repair` makes good what can be"),
            _ => None,
        }
    }
}

impl From<CheckError> for CliError {
    fn from(error: CheckError) -> Self {
        Self::Check(Box::new(error))
    }
}

impl From<PullError> for CliError {
    fn from(error: PullError) -> Self {
        Self::Pull(Box::new(error))
    }
}

impl CliError {
    /// Returns the status that the program ends with.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Run(error) => error.status(),
            Self::NotRun(error) => match **error {
                Self::Run(ref error) => error.status(),
                _ => FAILED,
            },
            _ => 1,
        }
    }
}

/// Prints an error, its causes and what to do about it on stderr.
pub(super) fn report(error: &CliError) {
    let mut lines = vec![format!("error: {error}")];
    lines.extend(causes(error).map(|cause| format!("caused by: {cause}")));
    let hint = error.hint().or_else(|| hint_of_causes(error));
    lines.extend(hint.map(|hint| format!("hint: {hint}")));
    let text = lines.join("\n") + "\n";
    // Nobody is left to be told when stderr is gone.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
