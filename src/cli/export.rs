//! `mica export`.

use std::io::IsTerminal as _;
use std::path::Path;

use super::arguments::{ExportArguments, FormatArgument};
use super::pull::in_runtime;
use super::{CliError, Session, progress};
use crate::export::{Destination, ExportFormat, ExportOptions, export, missing};
use crate::meta::ImageRecord;
use crate::pull::fetch_blobs;
use crate::registry;

pub(super) fn run(session: &Session, arguments: &ExportArguments) -> Result<(), CliError> {
    let path = &arguments.output;
    let destination = if path == Path::new("-") {
        if std::io::stdout().is_terminal() {
            return Err(CliError::Terminal);
        }
        Destination::Stdout
    } else {
        Destination::Path(path.clone())
    };
    let names_directory = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let format = match arguments.format {
        Some(FormatArgument::OciDir) => ExportFormat::OciDirectory,
        Some(FormatArgument::DockerArchive) => ExportFormat::DockerArchive,
        None if names_directory => ExportFormat::OciDirectory,
        Some(FormatArgument::OciArchive) | None => ExportFormat::OciArchive,
    };
    let options = ExportOptions {
        format,
        platforms: arguments.platforms.platforms(),
        namespace: session.namespace.clone(),
    };
    let images = session.images();
    let mut records = Vec::new();
    for image in &arguments.images {
        records.push(images.resolve(image)?);
    }
    if format != ExportFormat::DockerArchive {
        fetch(session, &records, &options)?;
    }
    Ok(export(&session.store, &records, &destination, &options)?)
}

/// Fetches the blobs that the store has only as they were unpacked.
fn fetch(
    session: &Session,
    images: &[ImageRecord],
    options: &ExportOptions,
) -> Result<(), CliError> {
    let registry = registry::Options {
        hosts_dirs: registry::default_hosts_dirs(),
        ..registry::Options::default()
    };
    let (store, namespace) = (&session.store, &session.namespace);
    for image in images {
        let missing = missing(store, image, &options.platforms)?;
        if missing.is_empty() {
            continue;
        }
        let observer = progress::observer(true);
        let work = fetch_blobs(store, namespace, image, &missing, &registry, &observer);
        in_runtime(async { work.await.map_err(CliError::from) })?;
    }
    Ok(())
}
