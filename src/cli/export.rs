//! `mica export`.

use std::io::IsTerminal as _;
use std::path::Path;

use super::arguments::{ExportArguments, FormatArgument};
use super::{CliError, Session};
use crate::export::{Destination, ExportFormat, ExportOptions, export};

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
    Ok(export(&session.store, &records, &destination, &options)?)
}
