//! Bundles for runtimes of the OCI: `config.json` beside a root (OCI runtime spec).
//!
//! What it says is what a run of mica's own has ([`super::root`]), with what a runtime can do
//! beyond that: paths of `/proc` and `/sys` that are hidden, and fewer capabilities.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde_json::{Value, json};

use super::root::TTY_GROUP;
use super::user::User;
use super::{Ids, Network, RunError, RunPlan};

/// The version of the runtime spec.
const VERSION: &str = "1.0.2";

const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const MASKED: [&str; 7] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Which namespace of users a runtime is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserNamespace {
    /// None: it is root's, or it is there already.
    Present,
    /// One in which root stands for a user.
    Single {
        /// The user outside.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// Returns the `config.json` of a run whose root is at `root`.
pub(super) fn config(
    plan: &RunPlan,
    user: &User,
    root: &Path,
    namespace: UserNamespace,
) -> Result<Value, RunError> {
    let process = &plan.process;
    let arguments: Result<Vec<&str>, RunError> =
        process.arguments.iter().map(|word| text(word)).collect();
    let capabilities = if user.uid == 0 {
        &CAPABILITIES[..]
    } else {
        &[]
    };
    let mut config = json!({
        "ociVersion": VERSION,
        "process": {
            "terminal": plan.terminal,
            "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
            "args": arguments?,
            "env": environment(plan, user)?,
            "cwd": text(process.directory.as_os_str())?,
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": capabilities,
                "permitted": capabilities,
            },
        },
        "root": { "path": text(root.as_os_str())?, "readonly": !plan.is_writable() },
        "mounts": mounts(plan)?,
        "linux": {
            "namespaces": namespaces(plan, namespace),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    });
    if let Some(name) = &plan.hostname {
        config["hostname"] = json!(name);
    }
    if let UserNamespace::Single { uid, gid } = namespace {
        for (key, id) in [("uidMappings", uid), ("gidMappings", gid)] {
            config["linux"][key] = json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        }
    }
    Ok(config)
}

fn environment(plan: &RunPlan, user: &User) -> Result<Vec<String>, RunError> {
    let variable =
        |(name, value): &(OsString, OsString)| Ok(format!("{}={}", text(name)?, text(value)?));
    let variables = super::process::environment(&plan.process, user);
    variables.iter().map(variable).collect()
}

fn namespaces(plan: &RunPlan, namespace: UserNamespace) -> Vec<Value> {
    let mut kinds = vec!["pid", "ipc", "uts", "mount"];
    if plan.network == Network::None {
        kinds.push("network");
    }
    if namespace != UserNamespace::Present {
        kinds.push("user");
    }
    kinds.iter().map(|kind| json!({ "type": kind })).collect()
}

fn mounts(plan: &RunPlan) -> Result<Vec<Value>, RunError> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    let bind = |source: &str, destination: &str, mode: &str| {
        json!({
            "destination": destination,
            "type": "bind",
            "source": source,
            "options": ["rbind", "nosuid", "nodev", mode],
        })
    };
    let group = format!("gid={TTY_GROUP}");
    let mut terminals = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    if !matches!(plan.ids, Ids::Single { .. }) {
        terminals.push(&group);
    }
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", &terminals),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777"],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        // That of this machine: a new one belongs to a network of one's own.
        bind("/sys", "/sys", "ro"),
    ];
    for path in plan.scratch() {
        let mode = if *path == "/run" {
            "mode=0755"
        } else {
            "mode=1777"
        };
        mounts.push(mount(path, "tmpfs", &["nosuid", "nodev", mode]));
    }
    let resolver = "/etc/resolv.conf";
    if Path::new(resolver).exists() {
        mounts.push(bind(resolver, resolver, "ro"));
    }
    for volume in &plan.volumes {
        let (source, destination) = (
            text(volume.source.as_os_str())?,
            text(volume.destination.as_os_str())?,
        );
        mounts.push(bind(
            source,
            destination,
            if volume.read_only { "ro" } else { "rw" },
        ));
    }
    Ok(mounts)
}

/// Returns a word as JSON can have it.
fn text(word: &OsStr) -> Result<&str, RunError> {
    word.to_str()
        .ok_or_else(|| RunError::NotText(word.to_owned()))
}
