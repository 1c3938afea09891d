//! User namespaces and subordinate ids: what running commands in images is better with.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Finding;
use super::fuse::find;

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
            "in a container, allow unshare (seccomp, AppArmor)",
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
    let name = user_name(uid.as_raw());
    let has_range = |path: &str| {
        let text = fs::read_to_string(Path::new(path)).unwrap_or_default();
        has_range(&text, name.as_deref(), uid.as_raw())
    };
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

/// Returns whether a line of `/etc/subuid` gives a user ids.
fn has_range(text: &str, name: Option<&str>, uid: u32) -> bool {
    text.lines().any(|line| {
        let mut fields = line.split(':');
        let user = fields.next().unwrap_or_default();
        let count = fields
            .nth(1)
            .and_then(|count| count.trim().parse::<u64>().ok());
        (Some(user) == name || user == uid.to_string()) && count.is_some_and(|count| count > 0)
    })
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_user() {
        for (why, text, expected) in [
            ("by name", "other:1:5\nme:100000:65536\n", true),
            ("by number", "1000:100000:65536", true),
            ("of another", "meme:100000:65536", false),
            ("an empty one", "me:100000:0", false),
            ("no range", "me", false),
            ("nothing", "", false),
        ] {
            assert_eq!(has_range(text, Some("me"), 1000), expected, "{why}");
        }
    }
}
