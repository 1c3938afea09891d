//! What the serving process of a mount counts, seen from another process.

use std::fs::File;
use std::path::PathBuf;

use mica_fuse::session::Counts;
use serde::Serialize;

use super::{MountRecord, MountsError, failed};

/// What a mount was asked since it was made.
#[derive(Clone, Debug, Serialize)]
pub struct MountStatistics {
    /// Names that came with listings: each a look-up that the kernel need not ask.
    pub look_ups_given_ahead: u64,
    /// The requests that came, by opcode.
    pub requests: Vec<RequestStatistics>,
}

/// What one kind of request came to.
#[derive(Clone, Debug, Serialize)]
pub struct RequestStatistics {
    /// The name in the kernel's `fuse.h`, in small letters.
    pub name: &'static str,
    /// Its number there; 0 for all that are unknown.
    pub opcode: u32,
    /// How many came.
    pub count: u64,
    /// Nanoseconds from taking one to answering it, on average.
    pub mean_ns: u64,
}

impl MountRecord {
    /// Reads what the serving process has counted until now; `None` where it counts nothing
    /// that can be read, or has ended.
    ///
    /// Only its own user and root may read it.
    pub fn statistics(&self) -> Result<Option<MountStatistics>, MountsError> {
        let Some(descriptor) = self.statistics_descriptor else {
            return Ok(None);
        };
        if !self.is_served()? {
            return Ok(None);
        }
        let path = PathBuf::from(format!("/proc/{}/fd/{descriptor}", self.pid));
        let counts = File::open(&path)
            .and_then(|file| Counts::read(&file))
            .map_err(failed("read the counts in", &path))?;
        Ok(Some(counts.into()))
    }
}

impl From<Counts> for MountStatistics {
    fn from(counts: Counts) -> Self {
        let requests = counts.requests.iter().map(|one| RequestStatistics {
            name: one.name(),
            opcode: one.opcode,
            count: one.messages,
            mean_ns: u64::try_from(one.mean().as_nanos()).unwrap_or(u64::MAX),
        });
        Self {
            look_ups_given_ahead: counts.given_ahead,
            requests: requests.collect(),
        }
    }
}
