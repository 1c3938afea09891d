//! `mica run`.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::arguments::{ProcessArguments, RunArguments};
use super::mount::{self, require_layers};
use super::pull::in_runtime;
use super::snapshot::kept;
use super::{CliError, Session};
use super::{error, progress};
use crate::images::ImageError;
use crate::meta::Kind;
use crate::mounts::{AccessMode, MountPlan};
use crate::named::{Named, NamedError};
use crate::oci::{ImageConfig, Platform, PlatformMatcher, ProcessConfig};
use crate::publish;
use crate::pull::{Platforms, PullOptions, pull};
use crate::registry;
use crate::run::{self, Ids, ProcessPlan, RunError, RunPlan, Writable};
use crate::snapshots::BASE_LABEL;
use crate::source::Source;

/// The directory in that of the mounts on which each run mounts its root, all of them on the
/// same: none sees that of another.
const POINT: &str = "root";

/// Runs a command; returns only if it could not be started, and then with a status that no
/// command has of its own accord.
pub(super) fn run(
    session: impl FnOnce() -> Result<Session, CliError>,
    arguments: &RunArguments,
) -> Result<(), CliError> {
    let outcome = session().and_then(|session| start(session, arguments));
    outcome.map_err(|error| CliError::NotRun(Box::new(error)))
}

/// Is the whole of the processes that a run is made of; `None` if the word is not for one.
pub(super) fn inner(word: &OsStr, mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut number = || words.next()?.to_str()?.parse().ok();
    let outcome = if word == run::SERVER_COMMAND {
        run::serve(number()?)
    } else if word == run::INIT_COMMAND {
        run::init(number()?)
    } else if word == run::MAP_COMMAND {
        run::map()
    } else {
        return None;
    };
    Some(match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let status = error.status();
            error::report(&error.into());
            ExitCode::from(status)
        }
    })
}

fn start(session: Session, arguments: &RunArguments) -> Result<(), CliError> {
    let mut named = resolve(&session, &arguments.what, &arguments.process)?;
    let config = config(&session, &named)?;
    let process = process(&config, &arguments.process)?;
    let writable = make_writable(&session, arguments, &mut named)?;
    require_layers(&session, &named, false)?;
    let plan = RunPlan {
        mount: mount_plan(&session, named, &arguments.what)?,
        writable,
        ids: Ids::of_process(),
        process,
        volumes: arguments.process.volumes.clone(),
        hostname: arguments.process.hostname.clone(),
        network: arguments.process.network.into(),
        terminal: run::has_terminal(),
        runtime: arguments.runtime.clone(),
    };
    drop(session);
    Err(run::become_server(&plan).into())
}

/// Finds what the user has named, and pulls an image that is not in the store.
pub(super) fn resolve(
    session: &Session,
    what: &str,
    process: &ProcessArguments,
) -> Result<Named, CliError> {
    let host = Platform::host();
    let platform = process.platform.as_ref().unwrap_or(&host);
    let named = match mount::resolve_for(session, what, platform) {
        Err(CliError::Named(NamedError::Image(ImageError::NotFound(_)))) => {
            let name = pull_missing(session, what, platform)?;
            mount::resolve_for(session, &name, platform)?
        }
        other => other?,
    };
    let found = named.contents.as_ref().map(|it| &it.config.platform);
    match found {
        Some(found) if PlatformMatcher::new(platform).rank(found).is_none() => {
            Err(CliError::Platform {
                image: what.to_owned(),
                platforms: Box::new((found.clone(), platform.clone())),
            })
        }
        _ => Ok(named),
    }
}

/// Pulls an image; returns the name that it has in the store.
fn pull_missing(session: &Session, what: &str, platform: &Platform) -> Result<String, CliError> {
    let options = registry::Options {
        hosts_dirs: registry::default_hosts_dirs(),
        ..registry::Options::default()
    };
    let source = Source::parse(what, &options)?;
    let name = source.name().to_string();
    let mut options = PullOptions::new(name.clone(), session.namespace.clone());
    options.platforms = Platforms::Each(vec![PlatformMatcher::new(platform)]);
    let store = Arc::clone(&session.store);
    let observer = progress::observer(false);
    in_runtime(async {
        let pulled = pull(store, Arc::new(source), &options, observer).await;
        pulled.map(drop).map_err(CliError::from)
    })?;
    Ok(name)
}

/// Returns how an image is run; for a snapshot, the image that it was made on.
pub(super) fn config(session: &Session, named: &Named) -> Result<ProcessConfig, CliError> {
    let of = |config: &ImageConfig| config.config.clone();
    if let Some(contents) = &named.contents {
        return Ok(of(&contents.config));
    }
    let Some(snapshot) = &named.snapshot else {
        return Ok(ProcessConfig::default());
    };
    let chain = session.snapshots().ancestry(snapshot)?;
    let base = chain.iter().find_map(|above| above.labels.get(BASE_LABEL));
    let Some(base) = base else {
        return Ok(ProcessConfig::default());
    };
    match session.images().resolve(base) {
        Ok(image) => Ok(of(&session.images().contents(&image)?.config)),
        // It has lost its name since.
        Err(ImageError::NotFound(_)) => Ok(ProcessConfig::default()),
        Err(error) => Err(error.into()),
    }
}

/// Returns what is run, as the image says and the user has it.
pub(super) fn process(
    config: &ProcessConfig,
    arguments: &ProcessArguments,
) -> Result<ProcessPlan, CliError> {
    let own = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let (mut words, default) = match &arguments.entrypoint {
        // The image's command belongs to its entrypoint.
        Some(program) if program.is_empty() => (Vec::new(), Vec::new()),
        Some(program) => (vec![program.clone()], Vec::new()),
        None => (own(&config.entrypoint), own(&config.cmd)),
    };
    words.extend(if arguments.command.is_empty() {
        default
    } else {
        arguments.command.clone()
    });
    if words.is_empty() {
        return Err(RunError::NoCommand.into());
    }
    let directory = match &arguments.workdir {
        Some(directory) => Path::new("/").join(&config.working_dir).join(directory),
        None => Path::new("/").join(&config.working_dir),
    };
    Ok(ProcessPlan {
        arguments: words,
        environment: environment(&config.env, &arguments.env),
        directory,
        user: arguments
            .user
            .clone()
            .unwrap_or_else(|| config.user.clone()),
    })
}

/// Returns the variables of the image with those of the user, of which each is there once.
fn environment(image: &[String], user: &[String]) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &str, value: OsString| {
        variables.retain(|(known, _)| known != name);
        variables.push((name.into(), value));
    };
    if let Some(terminal) = std::env::var_os("TERM").filter(|_| run::has_terminal()) {
        set("TERM", terminal);
    }
    for variable in image {
        // What has no value is nothing.
        if let Some((name, value)) = variable.split_once('=') {
            set(name, value.into());
        }
    }
    for variable in user {
        match variable.split_once('=') {
            Some((name, value)) => set(name, value.into()),
            None => {
                if let Some(value) = std::env::var_os(variable) {
                    set(variable, value);
                }
            }
        }
    }
    variables
}

/// Makes the snapshot that keeps what is written, or takes the active one that was named.
fn make_writable(
    session: &Session,
    arguments: &RunArguments,
    named: &mut Named,
) -> Result<Writable, CliError> {
    if !arguments.rw {
        return Ok(Writable::No);
    }
    let snapshots = session.snapshots();
    let is_image = named.image_name().is_some();
    if let (false, None, Some(key)) = (is_image, &arguments.keep, &named.snapshot)
        && snapshots.stat(key)?.kind == Kind::Active
    {
        named.shown = snapshots.mounts(key)?;
        return Ok(Writable::Kept);
    }
    let Some(key) = &arguments.keep else {
        return Ok(Writable::Discarded);
    };
    // Only what is recorded can be stood on.
    require_layers(session, named, true)?;
    let labels = kept(named.base_labels());
    named.shown = snapshots.prepare(key, named.snapshot.as_deref(), labels)?;
    named.snapshot = Some(key.clone());
    Ok(Writable::Kept)
}

fn mount_plan(session: &Session, named: Named, source: &str) -> Result<MountPlan, CliError> {
    let image = named.image_name().map(str::to_owned);
    let point = session.store.mounts().join(POINT);
    publish::create_private(&point).map_err(|source| CliError::Path {
        path: point.clone(),
        source,
    })?;
    let snapshot = named.snapshot;
    let plan = MountPlan::of_snapshot(&session.store, named.shown, point, source.to_owned());
    Ok(MountPlan {
        image,
        snapshot,
        access: AccessMode::Enforce,
        ..plan
    })
}
