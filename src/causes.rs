//! An error and what caused it, in words, and what to do about causes that anything can have.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use crate::meta::Damage;

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

/// Returns what the user may do about a cause that every command can meet.
pub(crate) fn hint_of_causes(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if causes(error).any(<dyn Error>::is::<Damage>) {
        return Some("`mica check --rebuild` makes the records anew");
    }
    causes(error)
        .any(is_disk_full)
        .then_some("free some space; the same command goes on where this one has stopped")
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
        || error.downcast_ref::<Errno>() == Some(&Errno::NOSPC)
}

#[cfg(test)]
mod tests {
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
