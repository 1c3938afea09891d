//! Options and variables that change how a mount looks, or what is told of it.

use std::fs::{self, File};
use std::os::unix::fs::{DirEntryExt as _, FileTypeExt as _, MetadataExt as _};
use std::time::Duration;

use mica_fuse::session::CacheMode;
use rustix::fs::{SeekFrom, XattrFlags};
use rustix::io::Errno;

use crate::stage::{Stage, finish, stderr};

#[test]
fn directories_have_one_link_and_numbers_32_bits() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    fs::create_dir_all(stage.path("lower/d/e")).unwrap();
    let links = |name: &str| fs::metadata(stage.path(name)).unwrap().nlink();
    for (options, expected) in [("", 3), (",static_nlink", 1)] {
        let daemon = stage.mount(&format!("lowerdir=lower{options}"));
        assert_eq!(links("point/d"), expected, "{options}");
        stage.unmount();
        daemon.ends();
    }
    let daemon = stage.mount("lowerdir=lower,ino32_t");
    for entry in fs::read_dir(stage.path("point")).unwrap() {
        let entry = entry.unwrap();
        let number = entry.metadata().unwrap().ino();
        assert_eq!((number >> 32, entry.ino()), (0, number), "{entry:?}");
    }
    stage.unmount();
    daemon.ends();
}

#[test]
fn no_attributes_are_shown_or_taken_with_noxattrs() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    let set = |name: &str| {
        let flags = XattrFlags::empty();
        rustix::fs::setxattr(stage.path(name), "user.a", b"value", flags)
    };
    let value = |name: &str| rustix::fs::getxattr(stage.path(name), "user.a", &mut [0; 8][..]);
    set("lower/file").unwrap();
    let daemon = stage.mount("lowerdir=lower,upperdir=upper,workdir=work,noxattrs=1");
    assert_eq!(value("point/file"), Err(Errno::OPNOTSUPP));
    assert_eq!(set("point/file"), Err(Errno::OPNOTSUPP));
    // Also not lost: copy-up has them.
    fs::write(stage.path("point/file"), "changed").unwrap();
    assert_eq!(value("upper/file"), Ok(5));
    stage.unmount();
    daemon.ends();
}

#[test]
fn with_a_timeout_of_nothing_the_kernel_asks_anew() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    let size = || fs::metadata(stage.path("point/file")).unwrap().len();
    for (options, sees_it) in [("", false), (",timeout=0", true)] {
        fs::write(stage.path("lower/file"), "12345").unwrap();
        let daemon = stage.mount(&format!("lowerdir=lower{options}"));
        assert_eq!(size(), 5);
        let file = File::options().write(true).open(stage.path("lower/file"));
        file.unwrap().set_len(2).unwrap();
        assert_eq!(size(), if sees_it { 2 } else { 5 }, "{options}");
        stage.unmount();
        daemon.ends();
    }
    let daemon = stage.mount("lowerdir=lower,timeout=0.05");
    fs::write(stage.path("lower/file"), "123").unwrap();
    let start = std::time::Instant::now();
    while size() != 3 {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    stage.unmount();
    daemon.ends();
}

#[test]
fn the_environment_names_a_log_and_forbids_passthrough() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    let size = 1 << 20;
    // With a cache for writing the kernel finds no holes, as it does where it writes by itself.
    for (variable, value, forbids) in [
        ("FUSE_OVERLAYFS_DEBUG_LOG", "log", false),
        ("FUSE_OVERLAYFS_NO_PASSTHROUGH", "1", true),
    ] {
        let mut command = stage.command("fuse-overlayfs");
        let options = "lowerdir=lower,upperdir=upper,workdir=work";
        let output = finish(command.args(["-o", options, "point"]).env(variable, value));
        assert!(output.status.success(), "{}", stderr(&output));
        let daemon = stage.daemon();
        let file = File::create(stage.path("point/new")).unwrap();
        file.set_len(size).unwrap();
        let hole = rustix::fs::seek(&file, SeekFrom::Hole(0)).unwrap();
        let passes = CacheMode::best_for_process() == CacheMode::Passthrough && !forbids;
        assert_eq!(hole, if passes { 0 } else { size }, "{variable}");
        drop(file);
        stage.unmount();
        daemon.ends();
    }
    let log = fs::read_to_string(stage.path("log")).unwrap();
    assert!(log.contains("mica"), "{log}");
}

/// What is changed in a mount, and what of it is gone then.
fn change(point: &std::path::Path) -> [&'static str; 6] {
    let at = |name: &str| point.join(name);
    fs::remove_file(at("file")).unwrap();
    fs::rename(at("moved"), at("moved.new")).unwrap();
    fs::rename(at("tree"), at("tree.new")).unwrap();
    fs::remove_dir_all(at("gone")).unwrap();
    // Copied up before, made again and removed again.
    fs::write(at("changed"), "changed").unwrap();
    fs::remove_file(at("changed")).unwrap();
    fs::create_dir(at("changed")).unwrap();
    fs::remove_dir(at("changed")).unwrap();
    // Made again, and nothing of what it was shows.
    fs::remove_dir_all(at("again")).unwrap();
    fs::create_dir(at("again")).unwrap();
    ["file", "moved", "tree", "gone", "changed", "again/inner"]
}

#[test]
fn whiteouts_are_files_where_the_environment_says_so() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    for name in ["moved", "changed", "tree/leaf", "gone/leaf", "again/inner"] {
        let path = stage.path("lower").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let long = "n".repeat(255);
    fs::write(stage.path("lower").join(&long), "").unwrap();
    let mount = || {
        let mut command = stage.command("fuse-overlayfs");
        let options = "lowerdir=lower,upperdir=upper,workdir=work";
        command.args(["-o", options, "point"]);
        let output = finish(command.env("FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT", "1"));
        assert!(output.status.success(), "{}", stderr(&output));
        stage.daemon()
    };
    let mut daemon = mount();
    let gone = change(&stage.path("point"));
    fs::remove_file(stage.path("point").join(&long)).unwrap();
    for _ in 0..2 {
        for name in gone.into_iter().chain([&long[..]]) {
            let found = stage.path("point").join(name).symlink_metadata();
            assert!(found.is_err(), "{name}");
        }
        assert_eq!(fs::read(stage.path("point/moved.new")).unwrap(), b"moved");
        assert_eq!(
            fs::read(stage.path("point/tree.new/leaf")).unwrap(),
            b"tree/leaf"
        );
        stage.unmount();
        daemon.ends();
        daemon = mount();
    }
    stage.unmount();
    daemon.ends();
    let mut marks = Vec::new();
    for entry in fs::read_dir(stage.path("upper")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_char_device() {
            // No file has a name that long.
            assert_eq!(entry.file_name(), long[..]);
        } else if let Some(name) = entry.file_name().to_str().unwrap().strip_prefix(".wh.") {
            marks.push(name.to_owned());
        }
    }
    marks.sort();
    assert_eq!(marks, ["changed", "file", "gone", "moved", "tree"]);
}
