//! The way down through the layers to what a mark says lies elsewhere (rule 13).
//!
//! It is the kernel's: a path from the root is walked in each layer by itself, not in
//! the merged tree, and a directory on that path may in turn lead elsewhere in the
//! layers below it. See `ovl_lookup` and `ovl_lookup_layer` in `fs/overlayfs/namei.c`.

use super::stack::{Beyond, Contributor, Located, Stack, join};
use crate::Result;
use crate::layer::marks::Redirect;
use crate::layer::{Kind, Layer};

/// A search for one name, layer by layer, the next lower one each time.
#[derive(Debug)]
pub(super) struct Trail<'a> {
    stack: &'a Stack,
    /// The directories in which a name alone is looked for.
    siblings: &'a [Contributor],
    /// Whether `names` starts at the root of each layer.
    from_root: bool,
    /// One in the other; without `from_root` it is one.
    names: Vec<Vec<u8>>,
    /// The position of the layer that is asked next.
    next: u32,
    /// A layer hides what the ones below have.
    is_cut: bool,
}

impl<'a> Trail<'a> {
    /// Starts with a name among siblings, below a layer.
    pub(super) fn below(
        layer: u32,
        stack: &'a Stack,
        siblings: &'a [Contributor],
        name: &[u8],
    ) -> Self {
        Self {
            stack,
            siblings,
            from_root: false,
            names: vec![name.to_vec()],
            next: layer + 1,
            is_cut: false,
        }
    }

    /// Goes on elsewhere. A way from the root goes on even where a directory on the way
    /// to the mark hid what is below.
    pub(super) fn follow(&mut self, redirect: &Redirect) {
        let end = self.names.len();
        self.replace(redirect, end);
    }

    /// Returns what the next layer that has something has, or `None` where none has, or
    /// where what is above hides it.
    pub(super) fn next(&mut self) -> Result<Option<Located>> {
        while !self.is_cut && (self.next as usize) < self.stack.layers.len() {
            let layer = self.next;
            self.next += 1;
            let found = if self.from_root {
                self.walk(layer)?
            } else {
                self.among_siblings(layer)?
            };
            match found {
                Some(found) if found.kind == Kind::Whiteout => self.is_cut = true,
                Some(found) => return Ok(Some(found)),
                None => {}
            }
        }
        Ok(None)
    }

    /// Returns the next directory, or `None` also where something else cuts (rule 5).
    pub(super) fn next_directory(&mut self) -> Result<Option<Located>> {
        Ok(self.next()?.filter(Located::is_directory))
    }

    fn among_siblings(&self, layer: u32) -> Result<Option<Located>> {
        let sibling = self.siblings.iter().find(|sibling| sibling.layer == layer);
        match (sibling, self.names.last()) {
            (Some(sibling), Some(name)) => sibling.find(self.stack, name),
            _ => Ok(None),
        }
    }

    /// Walks the names from the root of one layer.
    fn walk(&mut self, layer: u32) -> Result<Option<Located>> {
        let Some(mut here) = self.root(layer)? else {
            return Ok(None);
        };
        // Counted from the end: a directory on the way may change what is before it.
        for rest in (0..self.names.len()).rev() {
            let done = self.names.len() - rest;
            let name = self.names.get(done - 1);
            let found = name.map(|name| here.find(self.stack, name)).transpose()?;
            let Some(found) = found.flatten() else {
                return Ok(None);
            };
            if rest == 0 {
                return Ok(Some(found));
            }
            if !found.is_directory() {
                self.is_cut = true;
                return Ok(None);
            }
            here = self.stack.contributor(&found)?;
            match here.beyond(self.stack)? {
                Beyond::Same => {}
                Beyond::Nothing => self.is_cut = true,
                Beyond::At(redirect) => {
                    let redirect = redirect.clone();
                    self.replace(&redirect, done);
                }
            }
        }
        Ok(None)
    }

    /// Returns the root of a layer; it may be opaque, and its redirect means nothing.
    fn root(&mut self, layer: u32) -> Result<Option<Contributor>> {
        let form = self.stack.layers.get(layer as usize).map(Layer::root);
        let Some(kind) = form else { return Ok(None) };
        let path = [].into();
        let root = self.stack.contributor(&Located { layer, kind, path })?;
        if matches!(root.beyond(self.stack)?, Beyond::Nothing) {
            self.is_cut = true;
        }
        Ok(Some(root))
    }

    /// Puts a redirect of what the first `done` names lead to in their place.
    fn replace(&mut self, redirect: &Redirect, done: usize) {
        match redirect {
            Redirect::Relative(name) => {
                if let Some(last) = self.names.get_mut(done - 1) {
                    last.clone_from(name);
                }
            }
            Redirect::Absolute(names) => {
                self.from_root = true;
                self.is_cut = false;
                self.names.splice(..done, names.iter().cloned());
            }
        }
    }
}

impl Contributor {
    /// Returns what the layer holds for a name of this directory.
    pub(super) fn find(&self, stack: &Stack, name: &[u8]) -> Result<Option<Located>> {
        let dentries = self.dentries(stack)?;
        let Some(position) = dentries.position(name)? else {
            return Ok(None);
        };
        Ok(Some(Located {
            layer: self.layer,
            kind: dentries.at(position)?.1,
            path: join(&self.path, name).into(),
        }))
    }
}
