//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::ExploreError;
use super::model::{Explorer, Focus};

/// Lines that a page is.
const PAGE: usize = 20;

/// What comes after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    Leave,
}

/// Does what a key says.
pub(super) fn press(explorer: &mut Explorer, key: KeyEvent) -> Result<Next, ExploreError> {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Ok(Next::Leave);
    }
    match explorer.focus {
        Focus::Filter => write_filter(explorer, key.code),
        focus => return look(explorer, focus, key.code),
    }
    Ok(Next::Stay)
}

fn write_filter(explorer: &mut Explorer, key: KeyCode) {
    match key {
        KeyCode::Enter => explorer.focus = Focus::Files,
        KeyCode::Esc => {
            explorer.filter.clear();
            explorer.focus = Focus::Files;
        }
        KeyCode::Backspace => drop(explorer.filter.pop()),
        KeyCode::Char(letter) => explorer.filter.push(letter),
        _ => {}
    }
    explorer.list();
}

fn look(explorer: &mut Explorer, focus: Focus, key: KeyCode) -> Result<Next, ExploreError> {
    let place = match focus {
        Focus::Layers => explorer.layer,
        _ => explorer.row,
    };
    let moved = match key {
        KeyCode::Up | KeyCode::Char('k') => Some(place.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => Some(place + 1),
        KeyCode::PageUp => Some(place.saturating_sub(PAGE)),
        KeyCode::PageDown => Some(place + PAGE),
        KeyCode::Home => Some(0),
        KeyCode::End => Some(usize::MAX),
        _ => None,
    };
    match (moved, focus) {
        (Some(place), Focus::Layers) => explorer.select_layer(place)?,
        (Some(place), _) => explorer.select_row(place),
        (None, _) => return command(explorer, focus, key),
    }
    Ok(Next::Stay)
}

fn command(explorer: &mut Explorer, focus: Focus, key: KeyCode) -> Result<Next, ExploreError> {
    match key {
        KeyCode::Char('q') => return Ok(Next::Leave),
        KeyCode::Tab => {
            explorer.focus = match focus {
                Focus::Layers => Focus::Files,
                _ => Focus::Layers,
            }
        }
        KeyCode::Char('/') => explorer.focus = Focus::Filter,
        KeyCode::Char('c') => {
            explorer.only_changes = !explorer.only_changes;
            explorer.list();
        }
        KeyCode::Enter if focus == Focus::Files => explorer.enter()?,
        KeyCode::Right | KeyCode::Char('l') if focus == Focus::Files => explorer.unfold(),
        KeyCode::Left | KeyCode::Char('h') if focus == Focus::Files => explorer.fold(),
        KeyCode::Esc => explorer.preview = None,
        _ => {}
    }
    Ok(Next::Stay)
}
