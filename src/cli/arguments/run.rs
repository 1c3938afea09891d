//! Options of `mica run` and `mica bundle`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::oci::Platform;
use crate::run::{Network, Volume};

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArguments {
    /// Change the root: what is written is thrown away at the end
    #[arg(long)]
    pub(in crate::cli) rw: bool,
    /// Keep what is written, in a new active snapshot of this name
    #[arg(long, requires = "rw", value_name = "NAME")]
    pub(in crate::cli) keep: Option<String>,
    /// Have a runtime of the OCI run it: crun, runc
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) runtime: Option<OsString>,
    /// Image to run, pulled if it is not in the store; or a snapshot
    #[arg(value_name = "IMAGE|SNAPSHOT")]
    pub(in crate::cli) what: String,
    #[command(flatten)]
    pub(in crate::cli) process: ProcessArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BundleArguments {
    /// Let the root be changed: changes go to a new active snapshot, named after DIR/rootfs
    #[arg(long)]
    pub(in crate::cli) rw: bool,
    /// Name of the new active snapshot
    #[arg(long, requires = "rw", value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(in crate::cli) tty: bool,
    /// Image to make a bundle of, pulled if it is not in the store; or a snapshot
    #[arg(value_name = "IMAGE|SNAPSHOT")]
    pub(in crate::cli) what: String,
    /// Directory for config.json, and for the root, which is mounted in it
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) process: ProcessArguments,
}

/// How a command is run, where that is not as the image says.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProcessArguments {
    /// Which network there is
    #[arg(long, default_value = "host")]
    pub(in crate::cli) network: NetworkArgument,
    /// Show a directory or file of this machine
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]", value_parser = volume)]
    pub(in crate::cli) volumes: Vec<Volume>,
    /// Set a variable; without a value it is taken over from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(in crate::cli) env: Vec<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIR")]
    pub(in crate::cli) workdir: Option<PathBuf>,
    /// Who runs it, by names or numbers
    #[arg(short, long = "user", value_name = "USER[:GROUP]")]
    pub(in crate::cli) user: Option<String>,
    /// Name of the machine
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) hostname: Option<String>,
    /// Program in the place of the image's entrypoint; an empty one takes it away
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) entrypoint: Option<OsString>,
    /// Platform of the image [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(in crate::cli) platform: Option<Platform>,
    /// What to run in the place of the image's command
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) command: Vec<OsString>,
}

/// Which network a command has.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum NetworkArgument {
    /// That of this machine
    Host,
    /// None at all
    None,
}

impl From<NetworkArgument> for Network {
    fn from(argument: NetworkArgument) -> Self {
        match argument {
            NetworkArgument::Host => Self::Host,
            NetworkArgument::None => Self::None,
        }
    }
}

/// Reads a volume.
fn volume(text: &str) -> Result<Volume, &'static str> {
    let (text, read_only) = match text.strip_suffix(":ro") {
        Some(text) => (text, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    let Some((source, destination)) = text.rsplit_once(':') else {
        return Err("a volume is SRC:DST[:ro]");
    };
    if source.is_empty() || !destination.starts_with('/') {
        return Err("a volume has an absolute path behind its colon");
    }
    Ok(Volume {
        source: source.into(),
        destination: destination.into(),
        read_only,
    })
}
