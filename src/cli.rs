//! The command line: arguments in, calls of the API, results out.
//!
//! Commands call the API of the store ([`crate::client`]), which a server answers or this
//! process itself. By nature local are those that draw or run what they have opened
//! (`diff`, `layers`, `explore`, `run`, `bundle`, `browse`, `overlay`, `mount --foreground`),
//! those whose bytes or credentials are the user's own (`import`, `export`, `push`, `content
//! get|ingest`, `snapshot diff`, `image commit`), and those that look at this machine or
//! write for the shell (`doctor`, `completions`, `man`). These open the store themselves
//! too, which works beside a server: `pull`, `mount`, `mounts`, `check`, `prune`,
//! `events`, `layer`, `image inspect|unpack`.
//!
//! Results go to stdout through one [`Output`], everything else to stderr: progress,
//! `error:`, `caused by:` and `hint:` lines. Exit codes: 0 done, 1 failed, 2 wrong
//! usage. A reader that closes stdout early is no error.

mod arguments;
mod browse;
mod bundle;
mod check;
mod commit;
mod completions;
mod content;
mod diff;
mod doctor;
mod drawn;
mod error;
mod events;
mod explore;
mod export;
mod gc;
mod image;
mod import;
mod layer;
mod layers;
mod lease;
mod mount;
mod mounts;
mod namespace;
mod output;
mod overlay;
mod progress;
mod prune;
mod pull;
mod push;
mod registry;
mod run;
mod serve;
mod snapshot;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use crate::client::Client;
use crate::content::Content;
use crate::gc::collect_if_due;
use crate::images::Images;
use crate::meta::Namespace;
use crate::overlay::{Call, SERVE_COMMAND as SERVE_OVERLAY, serve_child as serve_overlay};
use crate::snapshots::Snapshots;
use crate::store::Store;
use crate::views;

use arguments::{Arguments, Command, GlobalArguments};
use error::CliError;
use output::Output;

/// What every command works with.
#[derive(Debug)]
struct Session {
    store: Arc<Store>,
    output: Output,
    namespace: Namespace,
}

impl Session {
    fn open(global: &GlobalArguments) -> Result<Self, CliError> {
        let root = match &global.root {
            Some(root) => root.clone(),
            None => Store::default_root()?,
        };
        Ok(Self {
            store: Arc::new(Store::open(&root)?),
            output: Output::new(global.json),
            namespace: global.namespace.clone(),
        })
    }

    /// Returns who answers for the store.
    fn client(&self) -> Result<Client, CliError> {
        Ok(Client::of(&self.store, self.namespace.clone())?)
    }

    fn images(&self) -> Images {
        Images::new(self.store.meta(), self.content(), self.namespace.clone())
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::new(&self.store, self.namespace.clone())
    }

    fn content(&self) -> Content {
        self.store.content()
    }
}

/// Runs the program: parses its arguments, does what they say, reports failures.
pub fn main() -> ExitCode {
    // Not part of the grammar: this is how a mount's process is started, and it has to
    // come before anything opens a file or starts a thread.
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    match words.next() {
        Some(word) if word == crate::mounts::SERVE_COMMAND => {
            return exit(crate::mounts::serve_child().map_err(CliError::from));
        }
        Some(word) if word == views::SERVE_COMMAND => {
            let store = words.next().unwrap_or_default();
            return exit(views::serve_child(store.as_ref()).map_err(CliError::from));
        }
        Some(word) if word == SERVE_OVERLAY => {
            let call = Call::of(name, words.collect());
            return exit(serve_overlay(&call).map_err(CliError::from));
        }
        Some(word) => {
            if let Some(status) = run::inner(&word, words) {
                return status;
            }
        }
        _ => {}
    }
    if let Some(call) = Call::detect(std::env::args_os()) {
        return exit(overlay::run(&call));
    }
    // Usage errors end the program in here, with exit code 2.
    let arguments = Arguments::parse();
    let level = if arguments.global.debug {
        tracing::Level::DEBUG
    } else {
        tracing::Level::ERROR // a layer that `--foreground` serves is damaged
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .init();
    exit(run(&arguments))
}

fn exit(result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            error::report(&error);
            ExitCode::from(error.status())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), CliError> {
    let session = || Session::open(&arguments.global);
    match &arguments.command {
        Command::Pull(pull) => and_collect(&session()?, |session| pull::run(session, pull)),
        Command::Push(arguments) => push::run(&session()?, arguments),
        Command::Export(arguments) => export::run(&session()?, arguments),
        Command::Import(arguments) => {
            and_collect(&session()?, |session| import::run(session, arguments))
        }
        Command::Mount(mount) => mount::run(session()?, mount),
        Command::Browse(arguments) => browse::run(session()?, arguments),
        Command::Umount(umount) => mount::umount(&session()?, umount),
        Command::Mounts(arguments) => mounts::run(&session()?, arguments),
        Command::Bundle(arguments) => bundle::run(session()?, arguments),
        Command::Run(arguments) => run::run(session, arguments),
        Command::Overlay(overlay) => overlay::run(&overlay.call()),
        Command::Images(images) => image::list(&session()?, images),
        Command::Image(command) => and_collect(&session()?, |session| image::run(session, command)),
        Command::Diff(diff) => diff::run(&session()?, diff),
        Command::Snapshot(command) => {
            and_collect(&session()?, |session| snapshot::run(session, command))
        }
        Command::Layer(command) => layer::run(&session()?, command),
        Command::Explore { image } => explore::run(&session()?, image),
        Command::Completions { shell } => completions::print(*shell),
        Command::Man { directory } => completions::write_pages(directory),
        Command::Layers(arguments) => layers::run(&session()?, arguments),
        Command::Doctor(doctor) => doctor::run(&arguments.global, doctor),
        Command::Check(check) => check::run(&session()?, check),
        Command::Content(command) => content::run(&session()?, command),
        Command::Namespace(command) => namespace::run(&session()?, command),
        Command::Lease(command) => and_collect(&session()?, |session| lease::run(session, command)),
        Command::Gc(arguments) => gc::run(&session()?, arguments),
        Command::Prune(arguments) => prune::run(&session()?, arguments),
        Command::Events(arguments) => events::run(session()?, arguments),
        Command::Serve(arguments) => serve::run(&session()?, arguments),
    }
}

/// Runs a command that writes, and collects garbage if that was not done for long.
fn and_collect(
    session: &Session,
    command: impl FnOnce(&Session) -> Result<(), CliError>,
) -> Result<(), CliError> {
    command(session)?;
    if let Err(error) = collect_if_due(&session.store) {
        // The command has done what it was asked for.
        tracing::warn!(%error, "collect garbage");
    }
    Ok(())
}
