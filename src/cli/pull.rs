//! `mica pull`.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::arguments::PullArguments;
use super::output::Output;
use super::progress;
use super::{CliError, Session};
use crate::oci::{Platform, PlatformMatcher};
use crate::pull::{PullOptions, Pulled, pull};
use crate::source::Source;

pub(super) fn run(session: &Session, arguments: &PullArguments) -> Result<(), CliError> {
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let registry = arguments.registry.options();
    let source = Source::parse(&arguments.source, &registry)?;
    let options = PullOptions {
        name: source.name().to_string(),
        platform: PlatformMatcher::new(&platform),
        namespace: session.namespace.clone(),
    };
    let observer = progress::observer(arguments.quiet);
    let work = pull(
        Arc::clone(&session.store),
        Arc::new(source),
        &options,
        observer,
    );
    let pulled = runtime.block_on(async {
        tokio::select! {
            pulled = work => pulled.map_err(CliError::from),
            stopped = interrupted() => Err(stopped.err().map_or(CliError::Interrupted, CliError::Runtime)),
        }
    });
    // Waits for the threads that unpack: they end as their channels close, and remove
    // what they have half-made.
    drop(runtime);
    print(arguments, &pulled?)
}

fn print(arguments: &PullArguments, pulled: &Pulled) -> Result<(), CliError> {
    if arguments.print_chainid {
        let chain_id = pulled
            .chain_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        return Output::line(format!("image chain ID: {chain_id}"));
    }
    Output::line(&pulled.target.digest)
}

async fn interrupted() -> io::Result<()> {
    let (mut int, mut term) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
    Ok(())
}
