//! FUSE: the device, the helper that mounts for ordinary users, and its configuration.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::Finding;
use crate::programs::find;

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
const CONFIGURATION: &str = "/etc/fuse.conf";
const SET_USER_ID: u32 = 0o4000;

pub(super) fn device() -> Finding {
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => Finding::ok(DEVICE, "can be opened"),
        Err(error) => {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => {
                    "modprobe fuse; in a container, pass the device in (--device /dev/fuse)"
                }
                io::ErrorKind::PermissionDenied => {
                    "chmod 0666 /dev/fuse; in a container, allow the device"
                }
                _ => "modprobe fuse",
            };
            Finding::bad(DEVICE, error.to_string(), advice)
        }
    }
}

pub(super) fn helper() -> Finding {
    let is_root = rustix::process::geteuid().is_root();
    let Some(path) = find(HELPER) else {
        return if is_root {
            Finding::ok(HELPER, "was not found; root does not need it")
        } else {
            Finding::bad(HELPER, "was not found", "apt-get install fuse3")
        };
    };
    let detail = path.display().to_string();
    match fs::metadata(&path) {
        Ok(file) if file.uid() == 0 && file.permissions().mode() & SET_USER_ID != 0 => {
            Finding::ok(HELPER, detail)
        }
        _ if is_root => Finding::ok(HELPER, detail),
        _ => Finding::bad(
            HELPER,
            format!("{detail} is not set-user-ID root"),
            format!("chown root {detail} && chmod u+s {detail}"),
        ),
    }
}

pub(super) fn others() -> Finding {
    let subject = "user_allow_other";
    let text = match fs::read_to_string(CONFIGURATION) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let detail = format!("{CONFIGURATION}: {error}");
            return Finding::note(subject, detail, "make it readable");
        }
        other => other.unwrap_or_default(),
    };
    if allows_others(&text) {
        return Finding::ok(subject, format!("is set in {CONFIGURATION}"));
    }
    let advice = format!("add the line user_allow_other to {CONFIGURATION} if others are to enter");
    Finding::note(
        subject,
        "is not set: mounts of ordinary users are for themselves alone",
        advice,
    )
}

fn allows_others(configuration: &str) -> bool {
    let mut lines = configuration.lines();
    lines.any(|line| line.trim() == "user_allow_other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_allows_others_by_a_line_of_its_own() {
        for (text, expected) in [
            ("", false),
            ("#user_allow_other\n", false),
            ("mount_max = 10\n user_allow_other \n", true),
            ("user_allow_others\n", false),
        ] {
            assert_eq!(allows_others(text), expected, "{text}");
        }
    }
}
