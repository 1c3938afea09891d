//! Archives that would write outside of their tree.

use super::*;

#[test]
fn breakouts_by_symlink_stay_inside() {
    assert_all(
        r"
SymlinkAbsolute
    symlink x /../../tmp, file x/f 1
    x: link /../../tmp, tmp: dir implied, tmp/f: file 1
SymlinkUpAndOut
    symlink x ../../../out, file x/f 1
    x: link ../../../out, out: dir implied, out/f: file 1
SymlinkMultipleAbsolute
    symlink x /a, symlink a /b, file x/f 1
    x: link /a, a: link /b, b: dir implied, b/f: file 1
SymlinkMultipleRelative
    dir d, symlink d/x ../a, symlink a ../b, file d/x/f 1
    d: dir, d/x: link ../a, a: link ../b, b: dir implied, b/f: file 1
SymlinkEmptyFile
    file e, symlink x /e, file x 1
    e: file, x: file 1
SymlinkParentDirectory
    symlink x .., file x/f 1
    x: link .., f: file 1
SymlinkParentRelative
    dir d, symlink x ../d, file x/../f 1
    d: dir, x: link ../d, f: file 1
SymlinkSlashEnded
    dir d, symlink x d/, file x/f 1
    d: dir, d/f: file 1, x: link d/
SymlinkOverrideDirectory
    dir d, file d/f 1, symlink d e, file d/g 2
    d: link e, e: dir implied, e/g: file 2
SymlinkOverrideDirectoryRelative
    dir a/d, symlink a/d ../e, file a/d/g 2
    a: dir implied, a/d: link ../e, e: dir implied, e/g: file 2
DirectoryOverrideSymlink
    dir e, symlink d e, dir d, file d/f 1
    e: dir, d: dir, d/f: file 1
DirectoryOverrideSymlinkAndHardlink
    symlink d e, link h d, dir d
    d: dir, h: link e
SymlinkOverridePath
    file e old, symlink x e, file x new
    e: file old, x: file new
long chain of a target
    symlink x a/b/../c, dir a/b, file x/f 1
    x: link a/b/../c, a: dir implied, a/b: dir, a/c: dir implied, a/c/f: file 1
",
    );
}

#[test]
fn breakouts_by_name_stay_inside() {
    assert_all(
        r"
DownAndOut
    file a/../../../f 1
    f: file 1
Absolute
    file /a/f 1
    a: dir implied, a/f: file 1
RelativeLong
    file ../../../../../../../f 1
    f: file 1
RelativeUpAndOut
    file a/../../f 1
    f: file 1
DirectRelative
    dir .., file ../f 1
    f: file 1
DirectAbsolute
    dir /, file /f 1
    f: file 1
the root is no file
    file ./ 1, symlink / x, link . x
    nothing
the root is no file
    file ./ 1, symlink / x
    nothing
",
    );
}
