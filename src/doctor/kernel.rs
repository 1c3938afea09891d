//! What the kernel's FUSE can do.

use std::fs;

use super::Finding;

const RELEASE: &str = "/proc/sys/kernel/osrelease";
const RINGS: &str = "/sys/module/fuse/parameters/enable_uring";

/// The versions of Linux that brought something, with what the FUSE of each is called.
const OLDEST: Version = Version(4, 18);
const PASSTHROUGH: Version = Version(6, 9);
const RING: Version = Version(6, 14);
const PRUNE: Version = Version(6, 18);

/// A version of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn of(release: &str) -> Option<Self> {
        let mut numbers = release.trim().split(['.', '-', '+']);
        let mut next = || numbers.next()?.parse().ok();
        Some(Self(next()?, next()?))
    }
}

pub(super) fn fuse() -> Finding {
    let subject = "kernel";
    let release = release();
    match Version::of(&release) {
        None => Finding::note(
            subject,
            format!("its release {release:?} is no version"),
            "use Linux 4.18 or later",
        ),
        Some(version) if version < OLDEST => Finding::bad(
            subject,
            format!("Linux {release}: ordinary users cannot mount in user namespaces"),
            "use Linux 4.18 or later",
        ),
        Some(version) if version < PRUNE => Finding::note(
            subject,
            format!("Linux {release}: what was looked at with mica browse stays in use for longer"),
            "use Linux 6.18 or later",
        ),
        Some(_) => Finding::ok(subject, format!("Linux {release}")),
    }
}

pub(super) fn rings() -> Finding {
    let subject = "FUSE over io_uring";
    if Version::of(&release()).is_none_or(|version| version < RING) {
        return Finding::note(subject, "the kernel has none", "use Linux 6.14 or later");
    }
    match fs::read_to_string(RINGS) {
        Ok(text) if text.trim() == "Y" => Finding::ok(subject, "is switched on"),
        Ok(_) => Finding::note(
            subject,
            "is switched off: --transport ring is as poll",
            format!("echo Y > {RINGS}, as root"),
        ),
        Err(error) => Finding::note(
            subject,
            format!("{RINGS}: {error}"),
            "a kernel with CONFIG_FUSE_IO_URING has it",
        ),
    }
}

pub(super) fn passthrough() -> Finding {
    let subject = "FUSE passthrough";
    if Version::of(&release()).is_none_or(|version| version < PASSTHROUGH) {
        return Finding::note(subject, "the kernel has none", "use Linux 6.9 or later");
    }
    if crate::users::is_machine_root() {
        Finding::ok(subject, "is used for mounts that are written to")
    } else {
        Finding::ok(
            subject,
            "is for root; ordinary users have a writeback cache",
        )
    }
}

fn release() -> String {
    let release = fs::read_to_string(RELEASE).unwrap_or_default();
    release.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases() {
        for (release, expected) in [
            ("6.18.1-1-amd64\n", Some(Version(6, 18))),
            ("5.15.0+", Some(Version(5, 15))),
            ("6.1-rc3", Some(Version(6, 1))),
            ("", None),
            ("next", None),
        ] {
            assert_eq!(Version::of(release), expected, "{release}");
        }
        assert!(Version(6, 9) < Version(6, 14) && Version(5, 20) < Version(6, 0));
    }
}
