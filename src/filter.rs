//! containerd's filter language, in which every list is asked for a part of itself.
//!
//! ```text
//! filter   := selector (',' selector)*           all of them
//! selector := field ('.' field)* [operator value]
//! field    := [A-Za-z0-9_]+ | quoted             operator := '==' | '!=' | '~='
//! value    := characters but ',' and space | quoted, and /…/ or |…| after '~='
//! ```
//! Several filters match what any of them matches; none, and an empty one, match all.
//! A selector without operator asks whether the field is there. A field that is not there
//! has the empty value for `!=` and `~=`, and equals nothing. Expressions are searched
//! for, not anchored, and one that does not compile matches nothing. They are those of
//! the `regex` crate, which on ASCII text mean what Go's do.
//!
//! What fields there are is for the lists to say, by [`Fields`].

mod parse;
mod quoted;
mod scan;

use std::borrow::Cow;

use regex::Regex;

use crate::meta::Labels;

pub use parse::FilterError;

/// Something that filters can be applied to.
pub trait Fields {
    /// Returns the value of the field at a path, if there is such a field.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>>;
}

/// What a list is to show.
#[derive(Debug, Clone)]
pub struct Filter {
    /// One of these has to match, each by all of its selectors.
    alternatives: Vec<Vec<Selector>>,
}

/// One condition.
#[derive(Debug, Clone)]
struct Selector {
    path: Vec<String>,
    condition: Condition,
}

#[derive(Debug, Clone)]
enum Condition {
    Present,
    Equal(String),
    NotEqual(String),
    /// `None` for an expression that does not compile.
    Matches(Option<Regex>),
}

impl Default for Filter {
    fn default() -> Self {
        Self::all()
    }
}

impl Filter {
    /// Returns the filter that matches everything.
    pub fn all() -> Self {
        Self {
            alternatives: vec![Vec::new()],
        }
    }

    /// Reads filters of which one has to match.
    pub fn parse(texts: &[impl AsRef<str>]) -> Result<Self, FilterError> {
        if texts.is_empty() {
            return Ok(Self::all());
        }
        let alternatives = texts.iter().map(|text| parse::selectors(text.as_ref()));
        Ok(Self {
            alternatives: alternatives.collect::<Result<_, _>>()?,
        })
    }

    /// Says whether something is to be shown.
    pub fn matches(&self, fields: &impl Fields) -> bool {
        self.alternatives
            .iter()
            .any(|selectors| selectors.iter().all(|selector| selector.matches(fields)))
    }
}

impl Selector {
    fn matches(&self, fields: &impl Fields) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let field = fields.field(&path);
        let value = field.as_deref().unwrap_or_default();
        match &self.condition {
            Condition::Present => field.is_some(),
            Condition::Equal(wanted) => field.as_deref() == Some(wanted),
            Condition::NotEqual(unwanted) => value != unwanted,
            Condition::Matches(Some(expression)) => expression.is_match(value),
            Condition::Matches(None) => false,
        }
    }
}

/// Returns the value of the label whose key the rest of a path is.
pub(crate) fn label<'l>(labels: &'l Labels, key: &[&str]) -> Option<Cow<'l, str>> {
    labels
        .get(&key.join("."))
        .map(|value| Cow::from(value.as_str()))
}

#[cfg(test)]
mod tests;
