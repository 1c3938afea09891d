//! From text to tokens, as containerd's scanner cuts it.

/// What a piece of a filter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare name.
    Field,
    /// Something in quotes of whatever kind, quotes included.
    Quoted,
    /// Bare text after an operator.
    Value,
    /// `,` or `.`
    Separator,
    /// Any run of `=`, `!` and `~`.
    Operator,
    /// A character that begins nothing.
    Other,
    /// Something that cannot be, and why.
    Illegal(&'static str),
    /// There is no more.
    End,
}

/// A token and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned<'i> {
    pub(super) token: Token,
    pub(super) text: &'i str,
    pub(super) position: usize,
}

#[derive(Debug)]
pub(super) struct Scanner<'i> {
    input: &'i str,
    position: usize,
    /// Whether an operator was the last thing but quotes, so that a value may come.
    wants_value: bool,
}

impl<'i> Scanner<'i> {
    pub(super) fn new(input: &'i str) -> Self {
        Self {
            input,
            position: 0,
            wants_value: false,
        }
    }

    /// Returns where the next token, or the space before it, begins.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Returns the next character.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes the next token; space before it is skipped.
    pub(super) fn scan(&mut self) -> Scanned<'i> {
        self.skip(char::is_whitespace);
        let start = self.position;
        let token = match self.next() {
            None => Token::End,
            Some('\0') => Token::Illegal("unexpected null"),
            Some(quote @ ('/' | '|' | '"')) => match self.quoted(quote) {
                Ok(()) => Token::Quoted,
                Err(reason) => Token::Illegal(reason),
            },
            Some(',' | '.') => {
                self.wants_value = false;
                Token::Separator
            }
            Some('=' | '!' | '~') => {
                self.skip(|c| matches!(c, '=' | '!' | '~'));
                self.wants_value = true;
                Token::Operator
            }
            Some(_) if self.wants_value => {
                self.skip(|c| c != ',' && !c.is_whitespace() && !c.is_control());
                self.wants_value = false;
                Token::Value
            }
            Some(first) if is_field(first) => {
                self.skip(is_field);
                Token::Field
            }
            Some(_) => Token::Other,
        };
        Scanned {
            token,
            text: self.input.get(start..self.position).unwrap_or_default(),
            position: start,
        }
    }

    fn rest(&self) -> &'i str {
        self.input.get(self.position..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.position += next.len_utf8();
        Some(next)
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
    }

    /// Goes on to behind the closing quote. An escape that cannot be is told of only
    /// when there is one.
    fn quoted(&mut self, quote: char) -> Result<(), &'static str> {
        let mut problem = None;
        loop {
            match self.next() {
                None | Some('\n' | '\0') => {
                    return Err(problem.unwrap_or("quoted literal not terminated"));
                }
                Some('\\') => {
                    if let Err(reason) = self.escape(quote) {
                        problem.get_or_insert(reason);
                    }
                }
                Some(other) if other == quote => return problem.map_or(Ok(()), Err),
                Some(_) => {}
            }
        }
    }

    /// Goes on to behind what follows a backslash.
    fn escape(&mut self, quote: char) -> Result<(), &'static str> {
        let (base, digits) = match self.peek() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => (1, 1),
            Some(other) if other == quote => (1, 1),
            Some('0'..='7') => (8, 3),
            Some('x') => (16, 2),
            Some('u') => (16, 4),
            Some('U') => (16, 8),
            _ => return Err("illegal escape sequence"),
        };
        if base != 8 {
            self.next();
        }
        if base == 1 {
            return Ok(());
        }
        for _ in 0..digits {
            if !self.peek().is_some_and(|c| c.is_digit(base)) {
                return Err("illegal numeric escape sequence");
            }
            self.next();
        }
        Ok(())
    }
}

fn is_field(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}
