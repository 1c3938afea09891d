//! Owners that are shown are not those on disk.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use crate::stage::{Stage, finish, stderr};

/// What stands for an id that has none on the other side.
const OVERFLOW: u32 = 65534;

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

#[test]
fn mapped_owners_are_shown_and_made() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    let lower = |name: &str, uid, gid| {
        let path = stage.path("lower").join(name);
        fs::write(&path, "").unwrap();
        chown(&path, Some(uid), Some(gid)).unwrap();
    };
    lower("roots", 100_000, 100_000);
    lower("users", 101_000, 100_005);
    lower("nobodys", 7, 8);
    symlink("roots", stage.path("lower/link")).unwrap();
    lchown(stage.path("lower/link"), Some(100_001), Some(100_002)).unwrap();
    chown(stage.path("upper"), Some(100_000), Some(100_000)).unwrap();
    let map = "100000:0:65536";
    let daemon = stage.mount(&format!(
        "lowerdir=lower,upperdir=upper,workdir=work,uidmapping=:{map},gidmapping=:{map}"
    ));
    let point = stage.path("point");
    for (name, expected) in [
        (".", (0, 0)),
        ("roots", (0, 0)),
        ("users", (1000, 5)),
        ("nobodys", (OVERFLOW, OVERFLOW)),
        ("link", (1, 2)),
    ] {
        assert_eq!(owner(&point.join(name)), expected, "{name}");
    }
    // With the owners that come with the names.
    for entry in fs::read_dir(&point).unwrap() {
        let entry = entry.unwrap();
        let by_name = owner(&entry.path());
        let metadata = entry.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), by_name);
    }

    fs::write(point.join("new"), "").unwrap();
    fs::create_dir(point.join("directory")).unwrap();
    chown(point.join("roots"), Some(5), None).unwrap();
    assert_eq!(owner(&point.join("roots")), (5, 0));
    fs::write(point.join("users"), "changed").unwrap();
    let script = "exec setpriv --reuid 33 --regid 34 --clear-groups touch point/directory/theirs";
    fs::set_permissions(point.join("directory"), PermissionsExt::from_mode(0o777)).unwrap();
    let output = finish(stage.command("sh").args(["-ec", script]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(owner(&point.join("directory/theirs")), (33, 34));
    for (name, expected) in [
        ("new", (100_000, 100_000)),
        ("directory", (100_000, 100_000)),
        ("roots", (100_005, 100_000)),
        ("users", (101_000, 100_005)),
        ("directory/theirs", (100_033, 100_034)),
    ] {
        assert_eq!(owner(&stage.path("upper").join(name)), expected, "{name}");
    }
    stage.unmount();
    daemon.ends();
}

#[test]
fn the_first_number_of_a_mapping_is_on_disk() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    let daemon = stage.mount("lowerdir=lower,uidmapping=:0:100000:65536,gidmapping=:0:7:1");
    assert_eq!(owner(&stage.path("point/file")), (100_000, 7));
    stage.unmount();
    daemon.ends();
}

#[test]
fn one_owner_is_shown_for_all() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    chown(stage.path("lower/file"), Some(7), Some(8)).unwrap();
    for (options, expected) in [
        ("squash_to_root", (0, 0)),
        ("squash_to_uid=3,squash_to_gid=4", (3, 4)),
        ("squash_to_gid=4", (7, 4)),
    ] {
        let daemon = stage.mount(&format!(
            "lowerdir=lower,upperdir=upper,workdir=work,{options}"
        ));
        assert_eq!(owner(&stage.path("point/file")), expected, "{options}");
        stage.unmount();
        daemon.ends();
    }
    let daemon = stage.mount("lowerdir=lower,upperdir=upper,workdir=work,squash_to_root");
    chown(stage.path("point/file"), Some(70), None).unwrap();
    assert_eq!(owner(&stage.path("point/file")), (0, 0));
    assert_eq!(owner(&stage.path("upper/file")), (70, 8));
    stage.unmount();
    daemon.ends();
}

#[test]
fn where_all_are_one_nobody_minds_an_owner_that_cannot_be_given() {
    let Some(stage) = Stage::of_nobody() else {
        return;
    };
    // The file is of a user that the namespace does not have.
    let script = "
        bin/fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work,squash_to_root point
        stat -c %u:%g point/file
        chmod 640 point/file
        stat -c %u:%g:%a point/file
        umount point";
    let output = stage.run(
        "unshare",
        &["--user", "--map-root-user", "--mount", "sh", "-ec", script],
    );
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text, "0:0\n0:0:640\n", "{}", stderr(&output));
    assert_eq!(owner(&stage.path("upper/file")), (OVERFLOW, OVERFLOW));
}

#[test]
fn owners_modes_and_devices_in_attributes() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    for mode in ["1", "2"] {
        let [upper, work] = ["upper", "work"].map(|name| format!("{name}{mode}"));
        stage.directory(&upper);
        stage.directory(&work);
        chown(stage.path("lower/file"), Some(3), Some(4)).unwrap();
        let options = format!(
            "lowerdir=lower,upperdir={upper},workdir={work},dev,suid,xattr_permissions={mode}"
        );
        let daemon = stage.mount(&options);
        let script = "
            cd point
            echo more >> file
            echo new > new
            chown 5:7 new
            chmod 4755 new
            mknod null c 1 3
            echo nothing > null
            mkfifo pipe";
        let output = finish(stage.command("sh").args(["-ec", script]));
        assert!(output.status.success(), "{mode}: {}", stderr(&output));
        stage.unmount();
        daemon.ends();
        let daemon = stage.mount(&options);
        let script = "cd point && stat -c '%n %u:%g %a %F %t,%T' file new null pipe && ls null";
        let output = finish(stage.command("sh").args(["-ec", script]));
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let expected = "\
            file 3:4 644 regular file 0,0\n\
            new 5:7 4755 regular file 0,0\n\
            null 0:0 644 character special file 1,3\n\
            pipe 0:0 644 fifo 0,0\n\
            null\n";
        assert_eq!(text, expected, "{mode}: {}", stderr(&output));
        stage.unmount();
        daemon.ends();
        for name in ["file", "new", "null", "pipe"] {
            let path = stage.path(&upper).join(name);
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert!(metadata.is_file(), "{mode}: {name}");
            assert_eq!(owner(&path), (0, 0), "{mode}: {name}");
            assert_eq!(metadata.mode() & 0o7000, 0, "{mode}: {name}");
        }
    }
}
