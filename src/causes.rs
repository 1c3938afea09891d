//! An error and what caused it, in words.

use std::error::Error;

/// Returns what caused an error: the nearest cause first.
pub(crate) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Returns the messages of an error and its causes in one line.
pub(crate) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let messages = std::iter::once(error).chain(causes(error));
    let messages: Vec<String> = messages.map(ToString::to_string).collect();
    messages.join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_nearest_cause_comes_first() {
        #[derive(Debug, thiserror::Error)]
        #[error("open it")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("no"));
        assert_eq!(in_one_line(&error), "open it: no");
        assert_eq!(causes(&error).count(), 1);
    }
}
