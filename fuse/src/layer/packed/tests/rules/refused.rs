//! Archives that are refused.

use super::*;

#[test]
fn bad_entries_are_refused() {
    let long = format!("d/{}", "n".repeat(256));
    let parent = |path: &str| TarFault::NotADirectory {
        parent: crate::tar::EntryName(path.into()),
    };
    let cases = vec![
        (
            "component too long",
            new().long(b'L', long.as_bytes()).file("f", b""),
            TarFault::NameTooLong,
        ),
        (
            "path too long",
            new().long(b'L', &b"d/".repeat(2100)).file("f", b""),
            TarFault::NameTooLong,
        ),
        (
            "target too long",
            new().long(b'K', &[b't'; 4096]).symlink("t", "s"),
            TarFault::NameTooLong,
        ),
        (
            "parent is a file",
            new().file("a/b", b"").file("a/b/c", b""),
            parent("a/b"),
        ),
        (
            "parent is a hard link",
            new().link("lower", "a").file("a/c", b""),
            parent("a"),
        ),
        (
            "symlink loop",
            new().symlink("b", "a").symlink("a", "b").file("a/f", b""),
            TarFault::TooManyLinks,
        ),
        (
            "symlink to itself",
            new().symlink("a", "a").file("a/f", b""),
            TarFault::TooManyLinks,
        ),
        (
            "SymlinkEmptyFilename",
            new().symlink("", "a"),
            TarFault::EmptyLink,
        ),
        (
            "hard link to nothing",
            new().link("", "a"),
            TarFault::EmptyLink,
        ),
        (
            "hard link to a directory",
            new().dir("d", 0o755).link("d", "a"),
            TarFault::LinkToDirectory,
        ),
        (
            "hard link to the root",
            new().link("/", "a"),
            TarFault::LinkToDirectory,
        ),
        (
            "hard link to a later directory",
            new().link("d", "a").dir("d", 0o755),
            TarFault::LinkToDirectory,
        ),
        (
            "hard link to itself",
            new().file("a", b"").link("./a", "a"),
            TarFault::LinkToItself,
        ),
        (
            "hard links to each other",
            new()
                .link("b", "a")
                .link("c", "b")
                .link("a", "d")
                .symlink("x", "c")
                .link("a", "c"),
            TarFault::LinkToItself,
        ),
        ("WhiteoutRoot", new().file(".wh.", b""), TarFault::Whiteout),
        (
            "WhiteoutCurrentDirectory",
            new().file("d/.wh..", b""),
            TarFault::Whiteout,
        ),
        (
            "whiteout of the parent",
            new().file("d/.wh...", b""),
            TarFault::Whiteout,
        ),
    ];
    for (why, archive, expected) in cases {
        assert_eq!(fault(&archive.end()), Some(expected), "{why}");
    }
}

#[test]
fn faults_found_at_the_end_name_the_link() {
    let archive = new()
        .file("f", b"")
        .link("later", "d/link")
        .dir("later", 0o755)
        .end();
    let error = build(&archive).err().unwrap().to_string();
    assert_eq!(
        error,
        "tar entry \"d/link\" at byte 512: hard link to a directory"
    );
}
