//! `mica explore`.

use std::io::{self, IsTerminal as _};

use super::mount::{require_layers, resolve};
use super::{CliError, Session};
use crate::anatomy::Anatomy;
use crate::explore::explore;
use crate::images::ImageError;

pub(super) fn run(session: &Session, image: &str) -> Result<(), CliError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(CliError::NoTerminal);
    }
    let named = resolve(session, image)?;
    require_layers(session, &named, false)?;
    let contents = named.contents.as_ref();
    let contents = contents.ok_or_else(|| ImageError::NotFound(image.to_owned()))?;
    let layers = session.store.layers();
    let anatomy = Anatomy::of_image(&session.content(), &layers, contents)?;
    let name = named.image_name().unwrap_or(image);
    Ok(explore(name, anatomy, &layers, contents.config.diff_ids())?)
}
