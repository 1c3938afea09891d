//! `mica image commit`.

use super::arguments::ImageCommitArguments;
use super::output::Output;
use super::{CliError, Session, diff};
use crate::commit::{CommitOptions, Compression, commit};

pub(super) fn run(session: &Session, arguments: &ImageCommitArguments) -> Result<(), CliError> {
    let options = CommitOptions {
        name: arguments.name.clone(),
        base: arguments.base.clone(),
        author: arguments.author.clone(),
        message: arguments.message.clone(),
        changes: arguments.changes.clone(),
        compression: if arguments.zstd {
            Compression::Zstd
        } else {
            Compression::Gzip
        },
        latest: diff::latest()?,
        namespace: session.namespace.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let committed = runtime.block_on(commit(&session.store, &arguments.key, &options))?;
    Output::line(&committed.target.digest)
}
