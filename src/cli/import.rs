//! `mica import`.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use super::arguments::ImportArguments;
use super::output::Output;
use super::{CliError, Session, progress, pull};
use crate::oci::PlatformMatcher;
use crate::pull::{Platforms, PullOptions, pull};
use crate::source::{Found, Source};

pub(super) fn run(session: &Session, arguments: &ImportArguments) -> Result<(), CliError> {
    let images = named(find(session, &arguments.input)?, arguments)?;
    for Found { source, names } in images {
        let [name, others @ ..] = names.as_slice() else {
            continue;
        };
        let options = options(session, arguments, name.to_string());
        let observer = progress::observer(arguments.quiet);
        let work = pull(
            Arc::clone(&session.store),
            Arc::new(source),
            &options,
            observer,
        );
        let pulled = pull::in_runtime(async { work.await.map_err(CliError::from) })?;
        Output::line(format!("{} {name}", pulled.target.digest))?;
        for other in others {
            let image = session
                .images()
                .tag(&name.to_string(), &other.to_string(), true)?;
            Output::line(format!("{} {}", image.target.digest, image.name))?;
        }
    }
    Ok(())
}

fn options(session: &Session, arguments: &ImportArguments, name: String) -> PullOptions {
    let mut options = PullOptions::new(name, session.namespace.clone());
    if arguments.all_platforms {
        options.platforms = Platforms::All;
    } else if let Some(platform) = &arguments.platform {
        options.platforms = Platforms::Each(vec![PlatformMatcher::new(platform)]);
    }
    options.unpack = !arguments.no_unpack;
    options
}

fn find(session: &Session, input: &Path) -> Result<Vec<Found>, CliError> {
    let tmp = session.store.tmp();
    if input != Path::new("-") {
        return Ok(Source::all_in(input, &tmp)?);
    }
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let stdin = File::from(stdin.map_err(CliError::Input)?);
    // The name that an image gets that has none.
    Ok(Source::all_of(Path::new("image"), stdin, &tmp)?)
}

/// Gives the only image the name that the user wants.
fn named(mut images: Vec<Found>, arguments: &ImportArguments) -> Result<Vec<Found>, CliError> {
    if let Some(name) = &arguments.name {
        match images.as_mut_slice() {
            [only] => only.names = vec![name.clone()],
            several => return Err(CliError::Names(several.len())),
        }
    }
    Ok(images)
}
