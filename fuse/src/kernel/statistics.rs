//! Counts of what the kernel asked.

use std::sync::atomic::{AtomicU64, Ordering};

/// One more than the highest opcode that is counted by itself.
const OPCODES: usize = 64;

/// The number of messages that came from the kernel, by opcode.
#[derive(Debug)]
pub struct Statistics {
    messages: [AtomicU64; OPCODES],
}

impl Statistics {
    /// Returns how many messages with this opcode of `fuse.h` were read.
    pub fn messages(&self, opcode: u32) -> u64 {
        self.slot(opcode)
            .map_or(0, |slot| slot.load(Ordering::Relaxed))
    }

    /// Returns how many messages were read, those without an answer included.
    pub fn total(&self) -> u64 {
        self.messages
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .sum()
    }

    pub(crate) fn count(&self, opcode: u32) {
        if let Some(slot) = self.slot(opcode) {
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Slot 0, which no opcode has, counts what is beyond the table.
    fn slot(&self, opcode: u32) -> Option<&AtomicU64> {
        self.messages
            .get(opcode as usize)
            .or_else(|| self.messages.first())
    }
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            messages: [const { AtomicU64::new(0) }; OPCODES],
        }
    }
}
