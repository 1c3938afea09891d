//! `mica images` and `mica image`.

use serde::Serialize;

use super::arguments::{ImageCommand, ImagesArguments, UnpackArguments};
use super::output::{Output, size, time};
use super::progress;
use super::pull::in_runtime;
use super::{CliError, Session, commit};
use crate::images::Contents;
use crate::meta::ImageRecord;
use crate::oci::Platform;
use crate::pull::{self, Unpack};

/// An image with all that its documents say.
#[derive(Debug, Serialize)]
struct Inspected {
    image: ImageRecord,
    chain_id: Option<crate::oci::ChainId>,
    #[serde(flatten)]
    contents: Contents,
}

pub(super) fn list(session: &Session, arguments: &ImagesArguments) -> Result<(), CliError> {
    let images = session.images().matching(&arguments.filter.filter()?)?;
    if arguments.quiet {
        return images
            .iter()
            .map(|image| &image.name)
            .try_for_each(Output::line);
    }
    session
        .output
        .records(&images, ["NAME", "DIGEST", "UPDATED"], |image| {
            [
                image.name.clone(),
                image.target.digest.to_string(),
                time(image.updated),
            ]
        })
}

pub(super) fn run(session: &Session, command: &ImageCommand) -> Result<(), CliError> {
    match command {
        ImageCommand::Inspect { image } => inspect(session, image),
        ImageCommand::Unpack(arguments) => unpack(session, arguments),
        ImageCommand::Commit(arguments) => commit::run(session, arguments),
        ImageCommand::Rm { images } => remove(session, images),
        ImageCommand::Tag { image, name } => {
            let image = session.images().tag(image, name)?;
            Output::line(image.name)
        }
    }
}

fn inspect(session: &Session, input: &str) -> Result<(), CliError> {
    let image = session.images().resolve(input)?;
    let contents = session.images().contents(&image)?;
    Output::json(&Inspected {
        chain_id: contents.chain_id(),
        image,
        contents,
    })
}

fn unpack(session: &Session, arguments: &UnpackArguments) -> Result<(), CliError> {
    let image = session.images().resolve(&arguments.image)?;
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    let contents = session.images().contents_for(&image, &platform)?;
    let registry = arguments.registry.options();
    let work = Unpack {
        image: &image,
        contents: &contents,
        namespace: &session.namespace,
        registry: &registry,
        observer: progress::observer(false),
    };
    in_runtime(async { Ok(pull::unpack(&session.store, &work).await?) })?;
    let chain_id = contents.chain_id();
    Output::line(chain_id.map_or_else(|| image.name.clone(), |chain_id| chain_id.to_string()))
}

fn remove(session: &Session, inputs: &[String]) -> Result<(), CliError> {
    for input in inputs {
        let image = session.images().remove(input)?;
        Output::line(format!("removed {}", image.name))?;
    }
    session.store.layers().settle()?;
    let swept = session.store.sweep()?;
    if swept.is_deferred {
        return Output::line("space is freed later: another command uses the store");
    }
    Output::line(format!("freed {}", size(swept.bytes)))
}
