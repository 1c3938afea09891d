//! Command lines: by which name this executable was called, and with what.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::options::Draft;
use super::split::split_at_commas;
use super::{Flags, OverlayError, OverlayOptions};

/// The subcommand of `mica`.
const SUBCOMMAND: &str = "overlay";

/// A command line that asks for an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The name that the executable was called by.
    pub name: OsString,
    /// What the mount says that it is.
    pub identity: Identity,
    /// Whether mount(8) calls, with flags of its own.
    pub is_helper: bool,
    /// What follows the name and the subcommand.
    pub arguments: Vec<OsString>,
}

/// What a mount says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// `fuse.mica`.
    Mica,
    /// `fuse.fuse-overlayfs`, which scripts look for.
    FuseOverlayfs,
}

/// A command line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What is to be done.
    pub action: Action,
    /// The arguments that mean nothing, as they are to be told.
    pub ignored: Vec<OsString>,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To mount.
    Mount(Box<OverlayOptions>),
    /// To understand the command line and mount nothing (`mount -f`).
    Check,
    /// How to call it.
    Help,
    /// Which version it is.
    Version,
}

/// What has been seen of the arguments.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Reading {
    draft: Draft,
    mountpoint: Option<PathBuf>,
    ignored: Vec<OsString>,
    help: bool,
    version: bool,
    foreground: bool,
    debug: bool,
    is_fake: bool,
}

impl Identity {
    /// Returns what comes after `fuse.` in the type of the mount, and is its source too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mica => "mica",
            Self::FuseOverlayfs => "fuse-overlayfs",
        }
    }
}

impl Call {
    /// Returns the call that a command line is, its name included; `None` if it is
    /// something else of `mica`.
    pub fn detect(command_line: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut words = command_line.into_iter().peekable();
        let name = words.next()?;
        if identity_of(&name).is_none() {
            words.next_if(|word| word == SUBCOMMAND)?;
        }
        Some(Self::of(name, words.collect()))
    }

    /// Returns the call under a name, with what follows it and the subcommand.
    pub fn of(name: OsString, arguments: Vec<OsString>) -> Self {
        let (identity, is_helper) = identity_of(&name).unwrap_or((Identity::Mica, false));
        Self {
            name,
            identity,
            is_helper,
            arguments,
        }
    }

    /// Returns what the command line asks for. Looks at no file.
    pub fn parse(&self, is_root: bool) -> Result<Parsed, OverlayError> {
        let mut reading = Reading::new(Flags::default_for(is_root));
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_bytes() {
                b"--" => {
                    let last = arguments.by_ref().last().map(PathBuf::from);
                    reading.mountpoint = last.or(reading.mountpoint);
                }
                b"-o" => {
                    let options = arguments.next();
                    reading.options(options.ok_or(OverlayError::MissingArgument("-o"))?)?;
                }
                b"-t" | b"-N" if self.is_helper => drop(arguments.next()),
                [b'-', b'o', options @ ..] => reading.options(OsStr::from_bytes(options))?,
                [b'-', ..] if self.is_helper && reading.helper_flag(argument) => {}
                [b'-', ..] => reading.flag(argument),
                _ => reading.mountpoint = Some(argument.into()),
            }
        }
        reading.finish()
    }
}

impl Reading {
    fn new(flags: Flags) -> Self {
        Self {
            draft: Draft::new(flags),
            mountpoint: None,
            ignored: Vec::new(),
            help: false,
            version: false,
            foreground: false,
            debug: false,
            is_fake: false,
        }
    }

    fn options(&mut self, argument: &OsStr) -> Result<(), OverlayError> {
        for option in split_at_commas(argument.as_bytes()) {
            if option == b"debug" {
                self.debug = true;
            } else if !self.draft.set(option)? {
                self.ignored.push(OsStr::from_bytes(option).to_owned());
            }
        }
        Ok(())
    }

    fn flag(&mut self, argument: &OsStr) {
        match argument.as_bytes() {
            b"-h" | b"--help" => self.help = true,
            b"-V" | b"--version" => self.version = true,
            b"-f" => self.foreground = true,
            b"-d" | b"--debug" => self.debug = true,
            _ => self.ignored.push(argument.to_owned()),
        }
    }

    /// Takes the flags that mount(8) gives a helper, several in one word perhaps; `false` if
    /// the word is none of them. There `-f` means to do all but the mount.
    fn helper_flag(&mut self, argument: &OsStr) -> bool {
        let flags = argument.as_bytes().get(1..).unwrap_or_default();
        let is_helpers = !flags.is_empty() && flags.iter().all(|flag| b"sfnv".contains(flag));
        self.is_fake |= is_helpers && flags.contains(&b'f');
        is_helpers
    }

    fn finish(self) -> Result<Parsed, OverlayError> {
        let action = if self.help {
            Action::Help
        } else if self.version {
            Action::Version
        } else {
            let mut options = self.draft.finish(self.mountpoint)?;
            options.debug = self.debug;
            options.foreground = self.foreground || self.debug;
            if self.is_fake {
                Action::Check
            } else {
                Action::Mount(Box::new(options))
            }
        };
        Ok(Parsed {
            action,
            ignored: self.ignored,
        })
    }
}

/// Returns what a name of the executable stands for, and whether it is one that mount(8)
/// looks for: `mount.TYPE`, `mount.fuse.TYPE`.
fn identity_of(name: &OsStr) -> Option<(Identity, bool)> {
    let name = Path::new(name).file_name()?.to_str()?;
    let (kind, is_helper) = match name.strip_prefix("mount.") {
        Some(kind) => (kind, true),
        None => (name, false),
    };
    let kind = ["fuse.", "fuse3."]
        .iter()
        .find_map(|prefix| kind.strip_prefix(prefix).filter(|_| is_helper))
        .unwrap_or(kind);
    match kind {
        "fuse-overlayfs" => Some((Identity::FuseOverlayfs, is_helper)),
        "mica" if is_helper => Some((Identity::Mica, true)),
        _ => None,
    }
}
