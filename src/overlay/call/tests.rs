use std::time::Duration;

use mica_fuse::session::Transport;

use super::*;
use crate::overlay::{StatOverride, UpperPaths};

fn call(words: &[&str]) -> Call {
    Call::detect(words.iter().map(OsString::from)).unwrap()
}

fn parsed(words: &[&str]) -> Parsed {
    call(words).parse(true).unwrap()
}

fn options(words: &[&str]) -> OverlayOptions {
    match parsed(words).action {
        Action::Mount(options) => *options,
        other => panic!("{words:?}: {other:?}"),
    }
}

/// Returns the options of `-o` with `lowerdir=l` before them.
fn with(text: &str) -> OverlayOptions {
    options(&["fuse-overlayfs", "-o", &format!("lowerdir=l,{text}"), "m"])
}

#[test]
fn names_by_which_it_is_called() {
    type Case = (&'static [&'static str], Option<(Identity, bool)>);
    let cases: [Case; 11] = [
        (&["mica", "overlay", "m"], Some((Identity::Mica, false))),
        (&["mica", "mount", "overlay"], None),
        (&["mica"], None),
        (&["mica", "--debug", "overlay"], None),
        (&["fuse-overlayfs"], Some((Identity::FuseOverlayfs, false))),
        (
            &["/usr/bin/fuse-overlayfs", "overlay"],
            Some((Identity::FuseOverlayfs, false)),
        ),
        (
            &["mount.fuse.fuse-overlayfs"],
            Some((Identity::FuseOverlayfs, true)),
        ),
        (
            &["mount.fuse-overlayfs"],
            Some((Identity::FuseOverlayfs, true)),
        ),
        (&["/sbin/mount.fuse.mica"], Some((Identity::Mica, true))),
        (&["mount.fuse3.mica"], Some((Identity::Mica, true))),
        (&["mount.mica"], Some((Identity::Mica, true))),
    ];
    for (words, expected) in cases {
        let found = Call::detect(words.iter().map(OsString::from));
        let found = found.map(|call| (call.identity, call.is_helper));
        assert_eq!(found, expected, "{words:?}");
    }
}

#[test]
fn podman_mounts_for_writing() {
    let words = [
        "/usr/bin/fuse-overlayfs",
        "-o",
        "lowerdir=/s/overlay/l/VM2WQ:/s/overlay/l/7JKXE,upperdir=/s/overlay/9f/diff,\
         workdir=/s/overlay/9f/work,volatile,context=\"system_u:object_r:container_file_t:s0:c1,c2\",\
         xattr_permissions=2",
        "/s/overlay/9f/merged",
    ];
    let parsed = parsed(&words);
    assert!(parsed.ignored.is_empty(), "{:?}", parsed.ignored);
    let options = options(&words);
    let lower = ["/s/overlay/l/VM2WQ", "/s/overlay/l/7JKXE"].map(PathBuf::from);
    assert_eq!(options.lower, lower);
    let upper = UpperPaths {
        upper: "/s/overlay/9f/diff".into(),
        work: "/s/overlay/9f/work".into(),
    };
    assert_eq!(options.upper, Some(upper));
    assert_eq!(options.mountpoint, Path::new("/s/overlay/9f/merged"));
    assert_eq!(options.xattr_permissions, Some(StatOverride::Containers));
    assert!(!options.syncs && !options.foreground);
}

#[test]
fn podman_maps_ids_with_a_leading_colon() {
    let options = with(
        "upperdir=u,workdir=w,uidmapping=:0:100000:65536,gidmapping=:0:200000:1:1:200001:65535",
    );
    assert_eq!(options.ids.users.shown(0), 100_000);
    assert_eq!(options.ids.groups.shown(7), 200_007);
    assert!(options.upper.is_some());
}

#[test]
fn buildah_mounts_a_volume() {
    let words = [
        "fuse-overlayfs",
        "-o",
        r"lowerdir=/src/a\:b,upperdir=/t/upper,workdir=/t/work,private",
        "/t/merge",
    ];
    assert_eq!(parsed(&words).ignored, ["private"]);
    assert_eq!(options(&words).lower, [PathBuf::from("/src/a:b")]);
}

#[test]
fn containerd_mounts_through_mount_fuse3() {
    let options = options(&[
        "fuse-overlayfs",
        "overlay",
        "/run/c/rootfs",
        "-o",
        "workdir=/c/2/work,upperdir=/c/2/fs,lowerdir=/c/1/fs:/c/0/fs,writeback=0,dev,suid",
    ]);
    assert_eq!(options.mountpoint, Path::new("/run/c/rootfs"));
    assert_eq!(options.lower.len(), 2);
    assert_eq!(options.writeback, Some(false));
    assert!(options.flags.dev && options.flags.suid);
}

#[test]
fn mount_8_calls_in_three_ways() {
    let shapes: [(&str, &[&str]); 3] = [
        (
            "by the type",
            &["mica", "overlay", "/m", "-o", "rw,lowerdir=a,dev,suid"],
        ),
        (
            "as a helper",
            &[
                "mount.fuse.mica",
                "overlay",
                "/m",
                "-n",
                "-sv",
                "-o",
                "rw,lowerdir=a",
                "-t",
                "fuse.mica",
            ],
        ),
        (
            "options first",
            &[
                "mount.mica",
                "-N",
                "7",
                "-o",
                "lowerdir=a",
                "-orw",
                "none",
                "/m",
            ],
        ),
    ];
    for (why, words) in shapes {
        assert!(parsed(words).ignored.is_empty(), "{why}");
        let options = options(words);
        assert_eq!(options.mountpoint, Path::new("/m"), "{why}");
        assert_eq!(options.lower, [PathBuf::from("a")], "{why}");
    }
    let fake = parsed(&["mount.fuse.mica", "overlay", "/m", "-f", "-o", "lowerdir=a"]);
    assert_eq!(fake.action, Action::Check);
}

#[test]
fn what_holds_without_being_asked_for() {
    let root = with("");
    assert!(root.flags.allow_other && root.flags.suid && !root.flags.dev && root.flags.exec);
    assert!(root.syncs && root.acl && root.xattrs && root.ids.is_identity());
    assert_eq!(root.timeout, Duration::from_secs(1_000_000_000));
    let user = call(&["fuse-overlayfs", "-o", "lowerdir=l", "m"]).parse(false);
    let Action::Mount(user) = user.unwrap().action else {
        panic!("no mount");
    };
    assert!(!user.flags.allow_other && !user.flags.suid && !user.flags.atime);
}

#[test]
fn every_option_is_taken() {
    let known = "redirect_dir=off,context=x,squash_to_root,squash_to_uid=5,squash_to_gid=6,\
        xattr_permissions=1,static_nlink,noxattrs=1,noacl,xino=off,xino=auto,xino=on,ino32_t,\
        fast_ino=1,timeout=0.5,threaded=1,fsync=0,writeback=1,transport=block,plugins=/p.so,max_write,\
        max_write=131072,allow_root,allow_other,default_permissions,nosuid,dev,noexec,atime,\
        diratime,nodiratime,splice_read,splice_write,splice_move,kernel_cache,ro,debug";
    let words = ["fuse-overlayfs", "-o", &format!("lowerdir=l,{known}"), "m"];
    let parsed = parsed(&words);
    assert!(parsed.ignored.is_empty(), "{:?}", parsed.ignored);
    let options = options(&words);
    let ids = &options.ids;
    assert_eq!(
        (ids.users.shown(9), ids.groups.shown(9)),
        (5, 6),
        "not root"
    );
    assert_eq!(options.timeout, Duration::from_millis(500));
    assert_eq!(options.xattr_permissions, Some(StatOverride::Privileged));
    assert!(options.static_nlink && options.ino32 && options.debug && options.foreground);
    assert!(!options.xattrs && !options.acl && !options.syncs);
    assert_eq!(options.writeback, Some(true));
    assert_eq!(options.transport, Transport::Block);
    let flags = options.flags;
    assert!(flags.dev && flags.atime && flags.read_only && flags.allow_other);
    assert!(!flags.suid && !flags.exec);
}

#[test]
fn the_last_value_wins() {
    let options = options(&[
        "fuse-overlayfs",
        "first",
        "-olowerdir=a,nosuid",
        "second",
        "-o",
        "lowerdir=b:c,suid,noacl,ro,rw,fsync=0,fsync=1,squash_to_uid=4,squash_to_uid=-1",
        "-f",
        "--",
        "third",
        "-last",
    ]);
    assert_eq!(options.lower, ["b", "c"].map(PathBuf::from));
    assert_eq!(options.mountpoint, Path::new("-last"));
    assert!(options.flags.suid && !options.flags.read_only && options.syncs);
    assert!(options.foreground && options.ids.is_identity());
}

#[test]
fn unknown_arguments_are_ignored_and_told() {
    let words = [
        "fuse-overlayfs",
        "-o",
        "metacopy=on,userxattr,lowerdir=l,auto_unmount,fsname=x,xino=what,static_nlink=1",
        "--foo",
        "-s",
        "m",
    ];
    let expected = [
        "metacopy=on",
        "userxattr",
        "auto_unmount",
        "fsname=x",
        "xino=what",
        "static_nlink=1",
        "--foo",
        "-s",
    ];
    assert_eq!(parsed(&words).ignored, expected);
}

#[test]
fn help_and_version_need_no_mount_point() {
    for (flag, expected) in [
        ("-h", Action::Help),
        ("--help", Action::Help),
        ("-V", Action::Version),
        ("--version", Action::Version),
    ] {
        assert_eq!(parsed(&["fuse-overlayfs", flag]).action, expected, "{flag}");
    }
}

#[test]
fn wrong_command_lines() {
    let cases: [(&[&str], &str); 13] = [
        (&["-o", "lowerdir=l"], "no mountpoint specified"),
        (&["m", "-o"], "missing argument after `-o'"),
        (&["m"], "cannot read lower dirs: lowerdir not specified"),
        (
            &["-o", "lowerdir=::", "m"],
            "cannot read lower dirs: lowerdir not specified",
        ),
        (
            &["-o", "lowerdir=l,upperdir=u", "m"],
            "workdir not specified",
        ),
        (
            &["-o", "lowerdir=l,upperdir=u,workdir=", "m"],
            "workdir not specified",
        ),
        (
            &["-o", "lowerdir=a://plugin/data/path", "m"],
            "cannot read lower dirs: //plugin/data/path needs a plugin, and plugins are not supported",
        ),
        (
            &["-o", "lowerdir=l,redirect_dir=on", "m"],
            "redirect_dir=on: only redirect_dir=off is supported",
        ),
        (
            &["-o", "lowerdir=l,uidmapping=0:1", "m"],
            "invalid mapping specified: 0:1",
        ),
        (
            &["-o", "lowerdir=l,xattr_permissions=3", "m"],
            "invalid parameter in option `xattr_permissions=3'",
        ),
        (
            &["-o", "lowerdir=l,threaded=x", "m"],
            "invalid parameter in option `threaded=x'",
        ),
        (
            &["-o", "lowerdir=l,timeout=soon", "m"],
            "invalid parameter in option `timeout=soon'",
        ),
        (
            &["-o", "lowerdir=l,squash_to_uid=-2", "m"],
            "invalid parameter in option `squash_to_uid=-2'",
        ),
    ];
    for (words, expected) in cases {
        let words = [&["fuse-overlayfs"], words].concat();
        let error = call(&words).parse(true).unwrap_err();
        assert_eq!(error.to_string(), expected, "{words:?}");
    }
}

#[test]
fn five_hundred_lowers_of_any_length() {
    let paths: Vec<String> = (0..500)
        .map(|n| format!("/{}/{n}", "x".repeat(200)))
        .collect();
    let text = format!("lowerdir={}", paths.join(":"));
    assert!(text.len() > 100_000);
    assert_eq!(
        options(&["fuse-overlayfs", "-o", &text, "m"]).lower.len(),
        500
    );
}
