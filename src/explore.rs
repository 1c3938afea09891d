//! Layers and files of an image in a terminal.
//!
//! What is looked at is a value ([`model`]) that keys change; it is drawn anew after each
//! ([`draw`]). Nothing is written anywhere.

mod draw;
mod keys;
mod model;
mod preview;

use std::io;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use thiserror::Error;

use crate::anatomy::{Anatomy, AnatomyError};
use crate::layers::{LayerError, Layers};
use crate::oci::DiffId;

use keys::Next;
use model::Explorer;

/// Why an image could not be explored.
#[derive(Debug, Error)]
pub enum ExploreError {
    /// The terminal cannot be used.
    #[error("use the terminal")]
    Terminal(#[source] io::Error),
    /// The image could not be taken apart.
    #[error(transparent)]
    Anatomy(#[from] AnatomyError),
    /// A layer cannot be used.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file cannot be read.
    #[error("read a file of the image")]
    View(#[from] mica_fuse::Error),
    /// The contents of a file cannot be read.
    #[error("read the contents of a file")]
    Contents(#[source] io::Error),
}

/// Lets a user look at an image until they have seen enough.
pub fn explore(
    name: &str,
    anatomy: Anatomy,
    layers: &Layers,
    diff_ids: &[DiffId],
) -> Result<(), ExploreError> {
    let mut explorer = Explorer::new(name, anatomy, layers.clone(), diff_ids)?;
    let mut terminal = ratatui::try_init().map_err(ExploreError::Terminal)?;
    let outcome = run(&mut terminal, &mut explorer);
    ratatui::restore();
    outcome
}

fn run(
    terminal: &mut ratatui::DefaultTerminal,
    explorer: &mut Explorer,
) -> Result<(), ExploreError> {
    loop {
        terminal
            .draw(|frame| draw::draw(frame, explorer))
            .map_err(ExploreError::Terminal)?;
        let Event::Key(key) = event::read().map_err(ExploreError::Terminal)? else {
            continue;
        };
        if key.kind == KeyEventKind::Press && keys::press(explorer, key)? == Next::Leave {
            return Ok(());
        }
    }
}
