//! The command's side: starts the serving process and waits until it serves.

use std::process::Command;

use super::{MountPlan, MountRecord, MountsError, SERVE_COMMAND, failed};
use crate::daemon;

/// Mounts what the plan says in a process of its own and returns when it is served.
pub fn start(plan: &MountPlan) -> Result<MountRecord, MountsError> {
    let point = plan.mountpoint.as_path();
    let program = std::env::current_exe().map_err(failed("find the program to serve", point))?;
    let json = serde_json::to_vec(plan).map_err(|source| MountsError::Description {
        path: "-".into(),
        source,
    })?;
    let mut command = Command::new(program);
    Ok(daemon::start(command.arg(SERVE_COMMAND), &json, point)?)
}
