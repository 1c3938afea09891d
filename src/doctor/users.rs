//! User namespaces and subordinate ids: what running commands in images is better with.

use std::fs;
use std::process::{Command, Stdio};

use super::Finding;
use crate::programs::find;
use crate::run;

const SUBJECT: &str = "user namespaces";

/// What can forbid user namespaces: a file, what it must not hold, and what allows them.
const SWITCHES: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "sysctl user.max_user_namespaces=10000",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for mica",
    ),
];

pub(super) fn namespaces() -> Finding {
    if can_unshare() == Some(true) {
        return Finding::ok(SUBJECT, "can be made");
    }
    for (path, bad, advice) in SWITCHES {
        if fs::read_to_string(path).is_ok_and(|text| text.trim() == bad) {
            return Finding::note(SUBJECT, format!("{path} is {bad}"), advice);
        }
    }
    match can_unshare() {
        None => Finding::ok(SUBJECT, "nothing forbids them"),
        _ => Finding::note(
            SUBJECT,
            "cannot be made here",
            "in a container, allow unshare (seccomp, AppArmor); in a chroot there are none",
        ),
    }
}

/// Tries it; `None` where there is no program for that.
fn can_unshare() -> Option<bool> {
    let mut command = Command::new(find("unshare")?);
    let command = command.args(["--user", "true"]).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.ok().map(|status| status.success())
}

pub(super) fn subordinate_ids() -> Finding {
    let subject = "subordinate ids";
    let uid = rustix::process::getuid();
    if uid.is_root() {
        return Finding::ok(subject, "root does not need any");
    }
    let name = run::name_of(uid.as_raw());
    let has_range = |file| !run::subordinate_ranges(file, name.as_deref(), uid.as_raw()).is_empty();
    let user = name.clone().unwrap_or_else(|| uid.to_string());
    if !has_range("/etc/subuid") || !has_range("/etc/subgid") {
        return Finding::note(
            subject,
            format!("{user} has none: a command in an image sees one user"),
            format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"),
        );
    }
    match find("newuidmap") {
        Some(_) => Finding::ok(subject, format!("{user} has a range")),
        None => Finding::note(
            subject,
            "newuidmap was not found, which maps them",
            "apt-get install uidmap",
        ),
    }
}
