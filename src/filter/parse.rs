//! From text to selectors, with containerd's words for what is wrong.

use regex::Regex;
use thiserror::Error;

use super::quoted::{self, Quotes};
use super::scan::{Scanned, Scanner, Token};
use super::{Condition, Selector};
use crate::error_class::ErrorClass;

/// A filter cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("filters: parse error: [{}]: {message}", marked(input, *position))]
pub struct FilterError {
    /// The filter.
    pub input: String,
    /// Where in it reading has stopped, in bytes.
    pub position: usize,
    /// What was expected there, or found.
    pub message: String,
}

impl FilterError {
    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::InvalidArgument
    }
}

/// Reads the selectors of one filter; an empty one has none.
pub(super) fn selectors(input: &str) -> Result<Vec<Selector>, FilterError> {
    let mut selectors = Vec::new();
    if input.is_empty() {
        return Ok(selectors);
    }
    let mut parser = Parser {
        input,
        scanner: Scanner::new(input),
    };
    loop {
        selectors.push(parser.selector()?);
        match parser.scanner.peek() {
            None => return Ok(selectors),
            Some(',') => parser.scanner.scan(),
            Some(other) => {
                // A NUL is no character to containerd.
                let shown = if other == '\0' { '\u{fffd}' } else { other };
                let position = parser.scanner.position();
                return Err(parser.error(position, format!("unexpected input: {shown}")));
            }
        };
    }
}

#[derive(Debug)]
struct Parser<'i> {
    input: &'i str,
    scanner: Scanner<'i>,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector, FilterError> {
        let path = self.path()?;
        let condition = match self.scanner.peek() {
            None | Some(',') => Condition::Present,
            Some(_) => self.condition()?,
        };
        Ok(Selector { path, condition })
    }

    fn path(&mut self) -> Result<Vec<String>, FilterError> {
        let mut path = vec![self.field()?];
        while self.scanner.peek() == Some('.') {
            self.scanner.scan();
            path.push(self.field()?);
        }
        Ok(path)
    }

    fn field(&mut self) -> Result<String, FilterError> {
        let found = self.scanner.scan();
        match found.token {
            Token::Field => Ok(found.text.to_owned()),
            Token::Quoted => self.unquote(&found, Quotes::Double),
            _ => Err(self.unexpected(&found, "expected field or quoted")),
        }
    }

    fn condition(&mut self) -> Result<Condition, FilterError> {
        let found = self.scanner.scan();
        if found.token != Token::Operator {
            let wanted = r#"expected an operator ("=="|"!="|"~=")"#;
            return Err(self.unexpected(&found, wanted));
        }
        match found.text {
            "==" => Ok(Condition::Equal(self.value(Quotes::Double)?)),
            "!=" => Ok(Condition::NotEqual(self.value(Quotes::Double)?)),
            "~=" => {
                let value = self.value(Quotes::Any)?;
                let expression = Regex::new(&value).inspect_err(|error| {
                    tracing::warn!(%error, "an expression that matches nothing");
                });
                Ok(Condition::Matches(expression.ok()))
            }
            other => {
                let message = format!("unsupported operator {other:?}");
                Err(self.error(found.position, message))
            }
        }
    }

    fn value(&mut self, quotes: Quotes) -> Result<String, FilterError> {
        let found = self.scanner.scan();
        match found.token {
            Token::Value | Token::Field => Ok(found.text.to_owned()),
            Token::Quoted => self.unquote(&found, quotes),
            _ => Err(self.unexpected(&found, "expected value or quoted")),
        }
    }

    fn unquote(&self, found: &Scanned<'_>, quotes: Quotes) -> Result<String, FilterError> {
        if quotes == Quotes::Double && !found.text.starts_with('"') {
            return Err(self.error(found.position, "invalid quote encountered"));
        }
        quoted::unquote(found.text)
            .ok_or_else(|| self.error(found.position, "unquoting failed: quote syntax error"))
    }

    fn unexpected(&self, found: &Scanned<'_>, wanted: &str) -> FilterError {
        let message = match found.token {
            Token::Illegal(reason) => reason,
            _ => wanted,
        };
        self.error(found.position, message)
    }

    fn error(&self, position: usize, message: impl Into<String>) -> FilterError {
        FilterError {
            input: self.input.to_owned(),
            position,
            message: message.into(),
        }
    }
}

/// Returns the input with the place marked at which reading has stopped.
fn marked(input: &str, position: usize) -> String {
    let (before, rest) = input.split_at_checked(position).unwrap_or((input, ""));
    let mut rest = rest.chars();
    match rest.next() {
        Some(place) => format!("{before} >|{place}|< {}", rest.as_str()),
        None => before.to_owned(),
    }
}
