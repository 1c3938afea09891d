//! How it looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, List, ListState, Paragraph};

use super::model::{Explorer, Focus, Row};
use super::preview::printable;
use crate::anatomy::State;

const KEYS: &str = "Tab: other side  Enter: open  /: filter  c: changes only  q: leave";

/// Columns below which there is one side at a time.
const NARROW: u16 = 60;

/// Lines below which there is only what is asked for.
const SHORT: u16 = 18;

pub(super) fn draw(frame: &mut Frame<'_>, explorer: &Explorer) {
    let [main, footer] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    if main.width >= NARROW {
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(40), Constraint::Percentage(60)])
                .areas(main);
        layers(frame, explorer, left);
        files(frame, explorer, right);
    } else if explorer.focus == Focus::Layers {
        layers(frame, explorer, main);
    } else {
        files(frame, explorer, main);
    }
    let line = match explorer.focus {
        Focus::Filter => format!("/{}_", explorer.filter),
        _ if explorer.filter.is_empty() => KEYS.to_owned(),
        _ => format!("only names with {:?}  {KEYS}", explorer.filter),
    };
    frame.render_widget(Paragraph::new(line), footer);
}

/// Draws the layers, and what there is to say of one.
fn layers(frame: &mut Frame<'_>, explorer: &Explorer, area: Rect) {
    if area.height < SHORT {
        return list_of_layers(frame, explorer, area);
    }
    let [list, details] = Layout::vertical([Constraint::Min(3), Constraint::Length(8)]).areas(area);
    list_of_layers(frame, explorer, list);
    frame.render_widget(details_of(explorer), details);
}

fn list_of_layers(frame: &mut Frame<'_>, explorer: &Explorer, area: Rect) {
    let parts = (1..).zip(&explorer.anatomy.layers);
    let lines = parts.map(|(number, part)| {
        let command = part.command.as_deref().unwrap_or("-");
        let command = printable(command.as_bytes());
        format!("{number:3} {:>11} {command}", size(part.counts.size))
    });
    let is_active = explorer.focus == Focus::Layers;
    let list = List::new(lines)
        .block(block(&explorer.name, is_active))
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = ListState::default().with_selected(Some(explorer.layer));
    frame.render_stateful_widget(list, area, &mut state);
}

fn details_of(explorer: &Explorer) -> Paragraph<'static> {
    let mut lines = Vec::new();
    if let Some(part) = explorer.anatomy.layers.get(explorer.layer) {
        let counts = part.counts;
        lines.push(format!("layer {}", part.diff_id.0.short()));
        lines.push(format!(
            "{} added, {} changed",
            counts.added, counts.changed
        ));
        lines.push(format!("{} deleted", counts.deleted));
        lines.push(format!("{} hidden by later layers", size(part.hidden)));
    }
    let efficiency = explorer.anatomy.efficiency * 100.0;
    lines.push(format!("image {efficiency:.1} % efficient"));
    let lines: Vec<Line<'static>> = lines.into_iter().map(Line::raw).collect();
    Paragraph::new(lines).block(Block::bordered())
}

/// Draws the files, and the beginning of one if it is looked at.
fn files(frame: &mut Frame<'_>, explorer: &Explorer, area: Rect) {
    let Some(preview) = &explorer.preview else {
        return list_of_files(frame, explorer, area);
    };
    let part = if area.height < SHORT { 0 } else { 50 };
    let [list, beginning] =
        Layout::vertical([Constraint::Percentage(part), Constraint::Fill(1)]).areas(area);
    list_of_files(frame, explorer, list);
    let lines: Vec<Line<'_>> = preview.lines.iter().map(Line::raw).collect();
    let block = Block::bordered().title(preview.title.as_str());
    frame.render_widget(Paragraph::new(lines).block(block), beginning);
}

fn list_of_files(frame: &mut Frame<'_>, explorer: &Explorer, area: Rect) {
    // However deep it is, its name is to be seen.
    let deepest = usize::from(area.width / 6);
    let lines = explorer.rows.iter().map(|row| line(row, deepest));
    let is_active = explorer.focus != Focus::Layers;
    let title = format!("files after layer {}", explorer.layer + 1);
    let list = List::new(lines)
        .block(block(&title, is_active))
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = is_active.then_some(explorer.row);
    let mut state = ListState::default().with_selected(selected);
    frame.render_stateful_widget(list, area, &mut state);
}

fn line(row: &Row, deepest: usize) -> Line<'static> {
    let (mark, style) = match row.state {
        State::Kept => (' ', Style::new()),
        State::Added => ('+', Style::new().fg(Color::Green)),
        State::Changed => ('~', Style::new().fg(Color::Yellow)),
        State::Removed => ('-', Style::new().fg(Color::Red)),
    };
    let fold = match row.open {
        Some(true) => "v ",
        Some(false) => "> ",
        None => "  ",
    };
    let indent = "  ".repeat(row.depth.min(deepest));
    let text = format!("{mark} {:>11} {indent}{fold}{}", size(row.size), row.name());
    Line::styled(text, style)
}

fn block(title: &str, is_active: bool) -> Block<'static> {
    let style = if is_active {
        Style::new().add_modifier(Modifier::BOLD)
    } else {
        Style::new().fg(Color::DarkGray)
    };
    Block::bordered()
        .title(title.to_owned())
        .border_style(style)
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
