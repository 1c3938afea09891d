//! `mica images` and `mica image`.

use serde::Serialize;

use super::arguments::{ImageCommand, ImagesArguments, UnpackArguments};
use super::gc;
use super::output::{Output, labels, size, time};
use super::progress;
use super::pull::in_runtime;
use super::{CliError, Session, commit};
use crate::filter::Filter;
use crate::images::{self, Completeness, Contents};
use crate::labels::masked;
use crate::meta::ImageRecord;
use crate::oci::{Digest, Platform};
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
        ImageCommand::Rm { images, target } => remove(session, images, target.as_ref()),
        ImageCommand::Tag { image, name, force } => {
            let image = session.images().tag(image, name, *force)?;
            Output::line(image.name)
        }
        ImageCommand::Label { image, labels } => label(session, image, labels),
        ImageCommand::Check(arguments) => check(session, &arguments.filter()?),
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

fn remove(session: &Session, inputs: &[String], target: Option<&Digest>) -> Result<(), CliError> {
    for input in inputs {
        let image = session.images().remove(input, target)?;
        Output::line(format!("removed {}", image.name))?;
    }
    gc::free(session)
}

fn label(session: &Session, input: &str, changes: &[(String, String)]) -> Result<(), CliError> {
    let images = session.images();
    let wanted = ImageRecord {
        labels: changes.iter().cloned().collect(),
        ..images.resolve(input)?
    };
    let image = masked(&wanted.labels, |mask| images.update(&wanted, mask))?;
    let lines = [
        ("name", image.name.clone()),
        ("labels", labels(&image.labels)),
    ];
    session.output.record(&image, lines)
}

fn check(session: &Session, filter: &Filter) -> Result<(), CliError> {
    let checked = images::check(&session.store, &session.namespace, filter)?;
    session.output.records(
        &checked,
        ["NAME", "STATUS", "BLOBS", "SIZE", "UNPACKED"],
        |image| {
            let required = image.required.len();
            let bad = image.missing.len() + image.damaged.len();
            let blobs = match required {
                0 => "-".to_owned(),
                _ => format!("{}/{required}", required.saturating_sub(bad)),
            };
            [
                image.name.clone(),
                status(image.status).to_owned(),
                blobs,
                size(image.size),
                if image.is_unpacked { "yes" } else { "no" }.to_owned(),
            ]
        },
    )
}

fn status(status: Completeness) -> &'static str {
    match status {
        Completeness::Complete => "complete",
        Completeness::Incomplete => "incomplete",
        Completeness::Damaged => "damaged",
        Completeness::Unavailable => "unavailable",
    }
}
