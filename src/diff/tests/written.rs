//! What is written as a layer.

use super::*;

#[test]
fn other_programs_read_a_layer() {
    if !is_root() {
        return;
    }
    let stage = Stage::new(base);
    stage.change(change);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.tar");
    fs::write(&path, stage.layer("key")).unwrap();
    let script = "import os, sys, tarfile\n\
        for entry in tarfile.open(sys.argv[1], errors='surrogateescape'):\n    \
        sys.stdout.buffer.write(os.fsencode(entry.name) + (b'/' if entry.isdir() else b'') + b'\\0')\n";
    let python = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output();
    let python = python.unwrap();
    assert!(python.status.success(), "{python:?}");
    let mut names: Vec<&[u8]> = python.stdout.split(|byte| *byte == 0).collect();
    assert_eq!(names.pop(), Some(&b""[..]));
    let expected: Vec<Vec<u8>> = entries::list(&fs::read(&path).unwrap())
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    assert_eq!(names, expected);

    let into = dir.path().join("into");
    fs::create_dir(&into).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "-C"])
        .arg(&into);
    let tar = tar.arg("-xpf").arg(&path).output().unwrap();
    assert!(
        tar.status.success(),
        "{}",
        String::from_utf8_lossy(&tar.stderr)
    );
    for name in odd_names() {
        let path = into.join("odd").join(&name).join(&name);
        assert_eq!(fs::read(path).unwrap(), name.as_bytes());
    }
    assert_eq!(
        fs::read(into.join("edited")).unwrap(),
        b"CONTENTS of edited"
    );
    let large = fs::read(into.join("large")).unwrap();
    assert!(large == vec![7; 3 << 20], "contents from the layer below");
    let mut value = [0; 16];
    let length = rustix::fs::lgetxattr(into.join("sparse"), "user.k", &mut value).unwrap();
    assert_eq!(&value[..length], b"v\0=\n\xff");
}

#[test]
fn an_upper_is_a_layer() {
    let cases: &[Case] = &[
        ("nothing changed", |_| {}, &[], &[]),
        (
            "parents come first, once",
            |upper| fill(upper, &["a/b/one", "a/b/two", "a.txt"]),
            &["a/", "a/b/", "a/b/one", "a/b/two", "a.txt"],
            &["A /a/b/one", "A /a/b/two", "A /a.txt"],
        ),
        (
            "a file is another",
            |upper| fill(upper, &["a/b/file"]),
            &["a/", "a/b/", "a/b/file"],
            &["C /a/b/file"],
        ),
        (
            "a whiteout has its parents",
            |upper| fill(upper, &["a/b/.wh.file"]),
            &["a/", "a/b/", "a/b/.wh.file"],
            &["D /a/b/file"],
        ),
        (
            "a removed tree is one whiteout, in the order of its name",
            |upper| fill(upper, &[".wh.a", "b"]),
            &[".wh.a", "b"],
            &["D /a", "A /b"],
        ),
        (
            "a whiteout of nothing is nothing",
            |upper| fill(upper, &[".wh.absent", "a/.wh.absent"]),
            &["a/"],
            &[],
        ),
        (
            "an opaque directory",
            |upper| fill(upper, &["a/.wh..wh..opq", "a/b/new", "a/new"]),
            &["a/", "a/.wh..wh..opq", "a/b/", "a/b/new", "a/new"],
            &["D /a/b/file", "A /a/b/new", "A /a/new", "D /a/other"],
        ),
        (
            "a directory gave way",
            |upper| fill(upper, &["a"]),
            &["a"],
            &["C /a"],
        ),
        (
            "a file gave way",
            |upper| fill(upper, &["a/other/file"]),
            &["a/", "a/other/", "a/other/file"],
            &["C /a/other", "A /a/other/file"],
        ),
        (
            "a directory's mode",
            |upper| {
                fs::create_dir_all(upper.join("a/b")).unwrap();
                fs::set_permissions(upper.join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
            },
            &["a/", "a/b/"],
            &["C /a/b"],
        ),
        (
            "the root's mode",
            |upper| fs::set_permissions(upper, fs::Permissions::from_mode(0o711)).unwrap(),
            &["./"],
            &["C /"],
        ),
        (
            "the first name has the contents",
            |upper| {
                fill(upper, &["z"]);
                fs::hard_link(upper.join("z"), upper.join("c")).unwrap();
            },
            &["c", "z -> c"],
            &["A /c", "A /z"],
        ),
    ];
    for (why, make, expected, changes) in cases {
        let stage = Stage::new(|root| fill(root, &["a/b/file", "a/other"]));
        make(&stage.upper());
        let entries = entries::list(&stage.layer("key"));
        let entries: Vec<String> = entries.iter().map(entries::Entry::line).collect();
        assert_eq!(entries, *expected, "{why}");
        assert_eq!(stage.changes("key"), *changes, "{why}");
        assert_eq!(
            stage.between("base", "key"),
            *changes,
            "{why}: by attributes"
        );
        stage.commit("name", "key");
        stage.pack("name").unwrap();
        assert_eq!(stage.changes("name"), *changes, "{why}: packed");
    }
}

#[test]
fn a_socket_is_left_out_and_what_it_replaced_does_not_show_again() {
    let stage = Stage::new(|root| fill(root, &["old"]));
    for name in ["new", "old"] {
        drop(UnixListener::bind(stage.upper().join(name)).unwrap());
    }
    let entries = entries::list(&stage.layer("key"));
    let entries: Vec<String> = entries.iter().map(entries::Entry::line).collect();
    assert_eq!(entries, [".wh.old"]);
    assert_eq!(stage.changes("key"), ["A /new", "C /old"]);
    stage.commit("name", "key");
    stage.pack("name").unwrap();
    assert_eq!(stage.changes("name"), ["D /old"]);
}

#[test]
fn the_first_snapshot_of_a_chain_is_a_layer_with_its_root() {
    let stage = Stage::new(|root| {
        fill(root, &["a/file"]);
        fs::set_permissions(root, fs::Permissions::from_mode(0o750)).unwrap();
    });
    let lines: Vec<String> = entries::list(&stage.layer("base"))
        .iter()
        .map(entries::Entry::line)
        .collect();
    assert_eq!(lines, ["./", "a/", "a/file"]);
    assert_eq!(stage.changes("base"), ["A /a", "A /a/file"]);
    let before = stage.seen("base");
    stage.pack("base").unwrap();
    assert_eq!(stage.seen("base"), before);
    assert_eq!(stage.changes("key"), Vec::<String>::new(), "its child");
}

#[test]
fn times_are_kept_or_cut() {
    let stage = Stage::new(|_| {});
    let upper = stage.upper();
    for (name, seconds, nanoseconds) in [("early", 5, 500), ("late", 2_000_000_000, 1)] {
        fs::write(upper.join(name), name).unwrap();
        set_mtime(&upper.join(name), seconds, nanoseconds);
    }
    let times = |latest| {
        let layer = stage.difference("key").write_layer(Vec::new(), latest);
        let times = entries::list(&layer.unwrap());
        times.iter().map(|entry| entry.mtime).collect::<Vec<_>>()
    };
    let time = |seconds, nanoseconds| Timestamp {
        seconds,
        nanoseconds,
    };
    let late = time(2_000_000_000, 1);
    assert_eq!(times(None), [time(5, 500), late]);
    assert_eq!(times(Some(2_000_000_001)), [time(5, 500), late]);
    assert_eq!(
        times(Some(2_000_000_000)),
        [time(5, 500), time(2_000_000_000, 0)]
    );
    assert_eq!(times(Some(0)), [time(0, 0); 2]);
}

#[test]
fn what_no_layer_can_say_is_an_error() {
    let stage = Stage::new(|_| {});
    let file = stage.upper().join("file");
    fs::write(&file, "").unwrap();
    set_xattr(&file, "user.a=b", b"");
    let error = stage
        .difference("key")
        .write_layer(Vec::new(), None)
        .unwrap_err();
    assert!(
        matches!(&error, DiffError::Xattr { path, name } if path == "file" && name == "user.a=b"),
        "{error}"
    );
    let error = stage.pack("key").unwrap_err();
    assert!(matches!(
        error,
        DiffError::Snapshot(SnapshotError::NotCommitted(_))
    ));
    let owner = stage.snapshots.mounts("key").unwrap().upper.unwrap().owner;
    let _writer = stage.snapshots.hold_active(&owner).unwrap();
    let error = Difference::of_snapshot(&stage.store, &stage.snapshots, "key").unwrap_err();
    assert!(matches!(
        error,
        DiffError::Snapshot(SnapshotError::InUse(_))
    ));
}
