//! What is run, where and as whom: all that the server and the init must know.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Ids;
use crate::mounts::MountPlan;

/// All that is needed to run a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunPlan {
    /// The view that becomes the root.
    pub mount: MountPlan,
    /// What becomes of what is written.
    pub writable: Writable,
    /// Whose ids there are inside.
    pub ids: Ids,
    /// The command.
    pub process: ProcessPlan,
    /// Directories and files of this machine that are shown inside.
    pub volumes: Vec<Volume>,
    /// The name of the machine, inside.
    pub hostname: Option<String>,
    /// Which network there is inside.
    pub network: Network,
    /// The runtime that runs the command in the place of mica.
    pub runtime: Option<OsString>,
    /// Whether the command gets a terminal of its own, which this one shows.
    pub terminal: bool,
}

/// What becomes of what is written to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writable {
    /// Nothing can be written.
    No,
    /// It is thrown away.
    Discarded,
    /// It stays, in the upper of the plan.
    Kept,
}

/// A command, as the image and the user say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// The program and its arguments.
    pub arguments: Vec<OsString>,
    /// The environment: names and values.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory to start in.
    #[serde(with = "crate::json_path")]
    pub directory: PathBuf,
    /// Who runs it: name or number, and perhaps a group behind a colon; root if empty.
    pub user: String,
}

/// What of this machine is shown inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The directory or file of this machine.
    #[serde(with = "crate::json_path")]
    pub source: PathBuf,
    /// Where it is shown, absolute.
    #[serde(with = "crate::json_path")]
    pub destination: PathBuf,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// Which network a command has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// That of this machine.
    #[default]
    Host,
    /// None at all.
    None,
}

impl RunPlan {
    /// Returns the directories of which an ephemeral copy hides what a root that does not
    /// change has there, so that programs have somewhere to write.
    pub(super) fn scratch(&self) -> &'static [&'static str] {
        match self.writable {
            Writable::No => &["/tmp", "/var/tmp", "/run"],
            Writable::Discarded | Writable::Kept => &[],
        }
    }

    /// Returns whether the root can be changed.
    pub(super) fn is_writable(&self) -> bool {
        self.writable != Writable::No
    }
}
