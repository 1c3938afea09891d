//! Random archives against a model: a map from path to node, changed entry by entry
//! as unpacking would.

use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::tar::archive::Archive;

#[derive(Clone, Debug)]
enum Step {
    File(String, u8),
    Dir(String),
    Symlink(String),
    Link(String, String),
    Whiteout(String),
    Opaque(String),
}

/// What the model knows of a name; files share their contents as inodes do.
#[derive(Clone, Debug)]
enum Node {
    Dir { implied: bool },
    Leaf(Rc<String>),
}

#[derive(Default)]
struct Model {
    nodes: BTreeMap<String, Node>,
    hidden: BTreeSet<String>,
    opaque: BTreeSet<String>,
}

impl Model {
    /// Applies a step; says no where unpacking fails.
    fn apply(&mut self, step: &Step) -> bool {
        let (Step::File(path, _)
        | Step::Dir(path)
        | Step::Symlink(path)
        | Step::Link(_, path)
        | Step::Whiteout(path)
        | Step::Opaque(path)) = step;
        let end = if matches!(step, Step::Opaque(_)) {
            path.len()
        } else {
            path.rfind('/').unwrap_or(0)
        };
        if !self.make_directories(&path[..end]) {
            return false;
        }
        match step {
            Step::File(_, contents) => self.leaf(path, Rc::new(format!("file {contents}"))),
            Step::Symlink(_) => self.leaf(path, Rc::new("link target".into())),
            Step::Dir(_) => {
                if matches!(self.nodes.get(path), Some(Node::Leaf(_))) {
                    self.remove(path);
                }
                self.nodes
                    .insert(path.clone(), Node::Dir { implied: false });
            }
            Step::Link(target, _) => match self.nodes.get(target) {
                Some(Node::Leaf(leaf)) if target != path => {
                    let leaf = Rc::clone(leaf);
                    self.leaf(path, leaf);
                }
                _ => return false,
            },
            Step::Whiteout(_) => drop(self.hidden.insert(path.clone())),
            Step::Opaque(_) => drop(self.opaque.insert(path.clone())),
        }
        true
    }

    fn make_directories(&mut self, path: &str) -> bool {
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            let node = self
                .nodes
                .entry(path[..end].into())
                .or_insert(Node::Dir { implied: true });
            if matches!(node, Node::Leaf(_)) {
                return false;
            }
        }
        true
    }

    fn leaf(&mut self, path: &str, leaf: Rc<String>) {
        self.remove(path);
        self.nodes.insert(path.into(), Node::Leaf(leaf));
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.nodes
            .retain(|name, _| name != path && !name.starts_with(&below));
        self.hidden.retain(|name| !name.starts_with(&below));
        self.opaque
            .retain(|name| name != path && !name.starts_with(&below));
    }

    fn listing(&self) -> BTreeMap<String, String> {
        let mut listing: BTreeMap<_, _> = self
            .hidden
            .iter()
            .map(|name| (name.clone(), "whiteout".to_owned()))
            .collect();
        for (name, node) in &self.nodes {
            let text = match node {
                Node::Dir { implied } => {
                    let is_opaque = self.opaque.contains(name) || self.hidden.contains(name);
                    let implied = if *implied { " implied" } else { "" };
                    format!("dir{implied}{}", if is_opaque { " opaque" } else { "" })
                }
                Node::Leaf(leaf) => match Rc::strong_count(leaf) {
                    1 => leaf.to_string(),
                    names => format!("{leaf} x{names}"),
                },
            };
            listing.insert(name.clone(), text);
        }
        listing
    }
}

fn append(archive: Archive, step: &Step) -> Archive {
    let marked = |path: &str| match path.rsplit_once('/') {
        Some((parent, name)) => format!("{parent}/.wh.{name}"),
        None => format!(".wh.{path}"),
    };
    match step {
        Step::File(path, contents) => archive.file(path, contents.to_string().as_bytes()),
        Step::Dir(path) => archive.dir(path, 0o755),
        Step::Symlink(path) => archive.symlink("target", path),
        Step::Link(target, path) => archive.link(target, path),
        Step::Whiteout(path) => archive.file(&marked(path), b""),
        Step::Opaque(path) => archive.file(&format!("{path}/.wh..wh..opq"), b""),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let path = || prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"));
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, contents)| Step::File(path, contents)),
        3 => path().prop_map(Step::Dir),
        1 => path().prop_map(Step::Symlink),
        3 => (path(), path()).prop_map(|(target, path)| Step::Link(target, path)),
        2 => path().prop_map(Step::Whiteout),
        1 => path().prop_map(Step::Opaque),
    ]
}

proptest! {
    #[test]
    fn random_archives_make_the_tree_of_the_model(
        steps in prop::collection::vec(step(), 0..30),
        chunk in 1usize..2000,
    ) {
        let mut model = Model::default();
        let mut archive = Archive::new();
        for step in &steps {
            // A link to what is not there, and a path through a symbolic link, go
            // beyond the model: they have tests of their own.
            let before = (model.nodes.clone(), model.hidden.clone(), model.opaque.clone());
            if model.apply(step) {
                drop(before);
                archive = append(archive, step);
            } else {
                (model.nodes, model.hidden, model.opaque) = before;
            }
        }
        let built = build_in_chunks(&archive.end(), chunk).unwrap();
        prop_assert_eq!(listing(&built.layer), model.listing());
    }
}
