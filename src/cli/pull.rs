//! `mica pull`.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::arguments::PullArguments;
use super::output::Output;
use super::progress;
use super::{CliError, Session};
use crate::oci::PlatformMatcher;
use crate::pull::{Limits, Platforms, PullOptions, Pulled, pull};
use crate::source::Source;

pub(super) fn run(session: &Session, arguments: &PullArguments) -> Result<(), CliError> {
    let source = Source::parse(&arguments.source, &arguments.registry.options())?;
    let options = options(session, arguments, source.name().to_string());
    let observer = progress::observer(arguments.quiet);
    let work = pull(
        Arc::clone(&session.store),
        Arc::new(source),
        &options,
        observer,
    );
    print(
        arguments,
        &in_runtime(async { work.await.map_err(CliError::from) })?,
    )
}

fn options(session: &Session, arguments: &PullArguments, name: String) -> PullOptions {
    let mut options = PullOptions::new(name, session.namespace.clone());
    if arguments.all_platforms {
        options.platforms = Platforms::All;
    } else if !arguments.platform.is_empty() {
        let matchers = arguments.platform.iter().map(PlatformMatcher::new);
        options.platforms = Platforms::Each(matchers.collect());
    }
    options.unpack = !arguments.no_unpack;
    options.discard = arguments.discard;
    options.schema1 = arguments.schema1;
    options.limits = Limits {
        downloads: arguments.max_concurrent_downloads,
        unpacks: arguments.max_concurrent_unpacks,
    };
    options
}

/// Does work that waits for networks and disks, until it ends or the user ends it.
pub(super) fn in_runtime<T>(
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = work => result,
            stopped = interrupted() => Err(stopped.err().map_or(CliError::Interrupted, CliError::Runtime)),
        }
    });
    // Waits for the threads that unpack: they end as their channels close, and remove
    // what they have half-made.
    drop(runtime);
    result
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
