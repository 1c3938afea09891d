//! `mica images` and `mica image`.

use serde::Serialize;

use super::arguments::{ImageCommand, ImagesArguments, UnpackArguments};
use super::drawn;
use super::gc;
use super::output::{Output, labels, size, time};
use super::progress;
use super::pull::in_runtime;
use super::{CliError, Session, commit};
use crate::images::{Completeness, Contents};
use crate::labels::masked;
use crate::layers::LayerState;
use crate::meta::ImageRecord;
use crate::oci::{Descriptor, Digest, ImageConfig, Platform};
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
    let images = session.client()?.images(&arguments.filter.filters)?;
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
            let image = session.client()?.tag_image(image, name, *force)?;
            Output::line(image.name)
        }
        ImageCommand::Label { image, labels } => label(session, image, labels),
        ImageCommand::Check(arguments) => check(session, &arguments.filters),
    }
}

fn inspect(session: &Session, input: &str) -> Result<(), CliError> {
    let image = session.images().resolve(input)?;
    let contents = session.images().contents(&image)?;
    if !session.output.is_json() {
        let nodes = drawn(session, &image, &contents);
        return drawn::lines(&nodes).into_iter().try_for_each(Output::line);
    }
    Output::json(&Inspected {
        chain_id: contents.chain_id(),
        image,
        contents,
    })
}

/// Draws what an image consists of.
fn drawn(session: &Session, image: &ImageRecord, contents: &Contents) -> Vec<(usize, String)> {
    let blob = |what: &str, descriptor: &Descriptor| {
        format!("{what} {} ({})", descriptor.digest, size(descriptor.size))
    };
    let (config, manifest) = (&contents.config, &contents.manifest);
    let mut nodes = vec![(0, image.name.clone())];
    if image.target.digest != contents.descriptor.digest {
        nodes.push((1, blob("index", &image.target)));
    }
    let depth = nodes.len();
    let manifest_line = blob("manifest", &contents.descriptor);
    nodes.push((depth, format!("{manifest_line} for {}", config.platform)));
    nodes.push((depth + 1, blob("config", &manifest.config)));
    nodes.extend(process(config).map(|line| (depth + 2, line)));
    let diff_ids = config.diff_ids();
    nodes.push((
        depth + 1,
        format!("{} layers, lowest first", diff_ids.len()),
    ));
    for (diff_id, descriptor) in diff_ids.iter().zip(&manifest.layers) {
        let state = match session.store.layers().state(diff_id) {
            Ok(LayerState::Missing) => ", not unpacked",
            _ => "",
        };
        nodes.push((depth + 2, format!("layer {diff_id}{state}")));
        nodes.push((depth + 3, blob("blob", descriptor)));
    }
    nodes
}

/// Returns how an image is run, line by line.
fn process(config: &ImageConfig) -> impl Iterator<Item = String> {
    let run = &config.config;
    let fields = [
        ("entrypoint", run.entrypoint.join(" ")),
        ("command", run.cmd.join(" ")),
        ("user", run.user.clone()),
        ("directory", run.working_dir.clone()),
        ("environment", run.env.join(" ")),
    ];
    let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}: {}", value.replace(char::is_control, "?")))
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
    let client = session.client()?;
    for input in inputs {
        let image = client.remove_image(input, target)?;
        Output::line(format!("removed {}", image.name))?;
    }
    gc::free(session, &client)
}

fn label(session: &Session, input: &str, changes: &[(String, String)]) -> Result<(), CliError> {
    let client = session.client()?;
    let name = client.image(input)?.name;
    let wanted = changes.iter().cloned().collect();
    let image = masked(&wanted, |mask| client.label_image(&name, &wanted, mask))?;
    let lines = [
        ("name", image.name.clone()),
        ("labels", labels(&image.labels)),
    ];
    session.output.record(&image, lines)
}

fn check(session: &Session, filters: &[String]) -> Result<(), CliError> {
    let checked = session.client()?.check_images(filters)?;
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
