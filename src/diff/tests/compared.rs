//! What counts as a change.

use super::*;

#[test]
fn an_edit_counts_that_leaves_size_and_time() {
    let stage = Stage::new(|root| {
        fill(root, &["file", "copied"]);
        set_mtime(&root.join("file"), 1_000_000_000, 0);
        set_mtime(&root.join("copied"), 1_000_000_000, 0);
    });
    let upper = stage.upper();
    fs::write(upper.join("file"), "CONTENTS of file").unwrap();
    fill(&upper, &["copied"]);
    for name in ["file", "copied"] {
        set_mtime(&upper.join(name), 1_000_000_000, 0);
    }
    assert_eq!(stage.changes("key"), ["C /copied", "C /file"]);
    assert_eq!(stage.between("base", "key"), ["C /file"], "by contents");
}

#[test]
fn chains_are_compared_by_attributes_and_contents() {
    let stage = Stage::new(|root| fill(root, &["shared/file", "removed", "both"]));
    fill(&stage.upper(), &["one", "both", ".wh.removed"]);
    let other = stage.prepare("other", Some("base"));
    fill(&other, &["two", "both"]);
    for upper in [&stage.upper(), &other] {
        set_mtime(&upper.join("both"), 7, 7);
    }
    assert_eq!(
        stage.between("key", "other"),
        ["D /one", "A /removed", "A /two"]
    );
    assert_eq!(
        stage.between("other", "key"),
        ["A /one", "D /removed", "D /two"]
    );
    assert_eq!(stage.between("key", "key"), Vec::<String>::new());
    stage.commit("name", "key");
    stage.pack("name").unwrap();
    assert_eq!(
        stage.between("name", "other"),
        ["D /one", "A /removed", "A /two"]
    );
    set_mtime(&other.join("both"), 7, 8);
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(
        stage.between("name", "other"),
        ["C /", "C /both", "D /one", "A /removed", "A /two"]
    );
}
