//! `mica push`.

use std::sync::Arc;

use super::arguments::PushArguments;
use super::output::Output;
use super::{CliError, Session, progress, pull};
use crate::images::ImageError;
use crate::oci::Reference;
use crate::push::{PushOptions, push};
use crate::registry::{self, Client};

pub(super) fn run(session: &Session, arguments: &PushArguments) -> Result<(), CliError> {
    let image = session.images().resolve(&arguments.image)?;
    let to: Reference = match &arguments.to {
        Some(to) => to.clone(),
        None => image.name.parse().map_err(|source| ImageError::Name {
            input: image.name.clone(),
            source,
        })?,
    };
    let registry = registry::Options {
        push: true,
        ..arguments.registry.options()
    };
    let client = Client::new(to, &registry)?;
    let options = PushOptions {
        platforms: arguments.platforms.platforms(),
        chunk: arguments.chunk_size,
        registry: arguments.registry.options(),
        namespace: session.namespace.clone(),
    };
    let observer = progress::push_observer(arguments.quiet);
    let work = push(
        Arc::clone(&session.store),
        &image,
        client,
        &options,
        observer,
    );
    let target = pull::in_runtime(async { work.await.map_err(CliError::from) })?;
    Output::line(target.digest)
}
