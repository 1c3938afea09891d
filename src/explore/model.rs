//! What is looked at: a layer, the tree that it makes with those below, and a place in it.

use std::collections::HashSet;

use super::ExploreError;
use super::preview::{self, Preview};
use crate::anatomy::{self, Anatomy, Body, Directory, Node, State, Tree};
use crate::layers::Layers;
use crate::oci::DiffId;

/// Which part keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Layers,
    Files,
    /// The filter is being written.
    Filter,
}

/// One line of the tree of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) depth: usize,
    pub(super) path: Vec<u8>,
    pub(super) state: State,
    /// Bytes of the file, or of all files below.
    pub(super) size: u64,
    /// Whether it is a directory, and is open.
    pub(super) open: Option<bool>,
}

/// What a user looks at.
#[derive(Debug)]
pub(super) struct Explorer {
    pub(super) name: String,
    pub(super) anatomy: Anatomy,
    /// The layer, counted from 0.
    pub(super) layer: usize,
    pub(super) rows: Vec<Row>,
    pub(super) row: usize,
    pub(super) focus: Focus,
    pub(super) filter: String,
    pub(super) only_changes: bool,
    pub(super) preview: Option<Preview>,
    tree: Tree,
    closed: HashSet<Vec<u8>>,
    layers: Layers,
    diff_ids: Vec<DiffId>,
}

impl Row {
    /// Returns the last name of the path, for a terminal.
    pub(super) fn name(&self) -> String {
        let name = self.path.rsplit(|byte| *byte == b'/').next();
        preview::printable(name.unwrap_or_default())
    }
}

impl Explorer {
    pub(super) fn new(
        name: &str,
        anatomy: Anatomy,
        layers: Layers,
        diff_ids: &[DiffId],
    ) -> Result<Self, ExploreError> {
        let mut explorer = Self {
            name: name.to_owned(),
            anatomy,
            layer: 0,
            rows: Vec::new(),
            row: 0,
            focus: Focus::Layers,
            filter: String::new(),
            only_changes: false,
            preview: None,
            tree: Tree::default(),
            closed: HashSet::new(),
            layers,
            diff_ids: diff_ids.to_vec(),
        };
        explorer.select_layer(0)?;
        Ok(explorer)
    }

    /// Looks at another layer; the place in the tree stays as far as it is there.
    pub(super) fn select_layer(&mut self, layer: usize) -> Result<(), ExploreError> {
        let last = self.diff_ids.len().saturating_sub(1);
        self.layer = layer.min(last);
        let part = self.diff_ids.get(..=self.layer).unwrap_or_default();
        self.tree = anatomy::tree(&self.layers, part)?;
        self.preview = None;
        self.list();
        Ok(())
    }

    pub(super) fn select_row(&mut self, row: usize) {
        self.row = row.min(self.rows.len().saturating_sub(1));
        self.preview = None;
    }

    pub(super) fn current(&self) -> Option<&Row> {
        self.rows.get(self.row)
    }

    /// Opens or closes the directory, or shows the beginning of the file.
    pub(super) fn enter(&mut self) -> Result<(), ExploreError> {
        let Some(row) = self.current().cloned() else {
            return Ok(());
        };
        if row.open.is_some() {
            if !self.closed.remove(&row.path) {
                self.closed.insert(row.path);
            }
            self.list();
            return Ok(());
        }
        // What the layer removes is shown as it was below.
        let count = match row.state {
            State::Removed => self.layer,
            _ => self.layer + 1,
        };
        let part = self.diff_ids.get(..count).unwrap_or_default();
        self.preview = Some(preview::of_file(&self.layers, part, &row.path)?);
        Ok(())
    }

    /// Opens the directory.
    pub(super) fn unfold(&mut self) {
        let closed = self.current().filter(|row| row.open == Some(false));
        if let Some(path) = closed.map(|row| row.path.clone()) {
            self.closed.remove(&path);
            self.list();
        }
    }

    /// Closes the directory, or goes to the one that this is in.
    pub(super) fn fold(&mut self) {
        let Some(row) = self.current().cloned() else {
            return;
        };
        if row.open == Some(true) {
            self.closed.insert(row.path);
            return self.list();
        }
        let before = self.rows.get(..self.row).unwrap_or_default();
        if let Some(above) = before.iter().rposition(|other| other.depth < row.depth) {
            self.select_row(above);
        }
    }

    /// Makes the lines anew.
    pub(super) fn list(&mut self) {
        let mut lister = Lister {
            last: self.layer,
            filter: self.filter.to_lowercase(),
            only_changes: self.only_changes,
            closed: &self.closed,
            rows: Vec::new(),
        };
        lister.directory(self.tree.root(), 0, &[], true);
        self.rows = lister.rows;
        self.select_row(self.row);
    }
}

/// Lines in the making.
struct Lister<'e> {
    last: usize,
    filter: String,
    only_changes: bool,
    closed: &'e HashSet<Vec<u8>>,
    rows: Vec<Row>,
}

/// What is in a directory, whether or not it is listed.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    size: u64,
    changes: bool,
}

impl Lister<'_> {
    fn directory(
        &mut self,
        directory: &Directory,
        depth: usize,
        above: &[u8],
        is_shown: bool,
    ) -> Sum {
        let mut sum = Sum::default();
        for (name, node) in directory {
            let path = match above {
                [] => name.to_vec(),
                _ => [above, b"/", name].concat(),
            };
            let of_node = self.node(node, depth, &path, is_shown);
            sum.size += of_node.size;
            sum.changes |= of_node.changes;
        }
        sum
    }

    fn node(&mut self, node: &Node, depth: usize, path: &[u8], is_shown: bool) -> Sum {
        let state = node.state_in(self.last);
        let mut sum = Sum {
            size: 0,
            changes: state != State::Kept,
        };
        let place = self.rows.len();
        let (size, open) = match &node.body {
            Body::Other(held) => (held.size, None),
            Body::Directory(_) => (0, Some(!self.closed.contains(path))),
        };
        let is_named = String::from_utf8_lossy(path)
            .to_lowercase()
            .contains(&self.filter);
        self.rows.push(Row {
            depth,
            path: path.to_vec(),
            state,
            size,
            open,
        });
        if let Body::Directory(below) = &node.body {
            let below = self.directory(below, depth + 1, path, is_shown && open == Some(true));
            sum.changes |= below.changes;
            sum.size = below.size;
            if let Some(row) = self.rows.get_mut(place) {
                row.size = below.size;
                if state == State::Kept && below.changes {
                    row.state = State::Changed;
                }
            }
        } else {
            sum.size = size;
        }
        let has_below = self.rows.len() > place + 1;
        let is_wanted = (is_named || has_below) && (sum.changes || !self.only_changes);
        if !is_shown || !is_wanted {
            self.rows.truncate(place);
        }
        sum
    }
}
