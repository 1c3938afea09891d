//! Operations as system calls on one side.

mod attributes;
mod files;
mod names;

pub(crate) use attributes::sorted_names;

use rustix::io::Errno;

use crate::identity;
use crate::operation::{Operation, Step};
use crate::side::{Answer, Outcome, Side};

/// Performs a step.
pub(crate) fn perform(side: &mut Side, step: &Step) -> Outcome {
    match &step.operation {
        Operation::Remount => {
            side.mount(side.implementation);
            Ok(Answer::Done)
        }
        // Of the machine, so once for both sides.
        Operation::DropCaches => Ok(Answer::Done),
        operation => identity::assume(step.who, || ask(side, operation)),
    }
}

fn ask(side: &mut Side, operation: &Operation) -> Outcome {
    match operation {
        Operation::Open { .. }
        | Operation::Close { .. }
        | Operation::Read { .. }
        | Operation::ReadAt { .. }
        | Operation::Write { .. }
        | Operation::WriteAt { .. }
        | Operation::Allocate { .. }
        | Operation::Copy { .. }
        | Operation::Seek { .. }
        | Operation::MapWrite { .. }
        | Operation::Sync { .. }
        | Operation::Evict { .. } => files::perform(side, operation),
        Operation::Change { target, change } => attributes::change(side, target, change),
        Operation::Look { target, look } => attributes::look(side, target, look),
        _ => names::perform(side, operation),
    }
}

fn done(result: Result<(), Errno>) -> Outcome {
    result.map(|()| Answer::Done)
}
