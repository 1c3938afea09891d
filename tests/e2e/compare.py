#!/usr/bin/env python3
"""compare.py record DIR OUT                   records every path below DIR, one JSON line each
compare.py diff REFERENCE RECORD LOWER-LINKS   compares two records; exits 1 if they differ
    [--no-trusted]                             for a RECORD made without privilege

Compared: type, mode, owner, group, size (not of directories), modification time in ns,
device number, number of links (not of directories), hard-link groups, link target, extended
attributes, digest of the content; and of RECORD itself, that directory entries tell the
same inode number and type as lstat does.

Differences that are meant, each with its reason:
- the names in LOWER-LINKS (as extract_layers.py writes it): the product keeps a hard link
  into a lower layer as one inode with the attributes of the link's header; overlayfs cannot
  express it, and the reference holds a copy. Expected is one inode, as the link shows it.
- an answer of ENOTSUP for extended attributes counts as having none: a view without any
  says so once and is not asked again.
- `trusted.*` attributes cannot be read without privilege (--no-trusted).
- number of blocks, size and number of links of directories depend on the file system.
"""
import errno
import hashlib
import json
import os
import stat
import sys

FIELDS = ("type", "mode", "uid", "gid", "size", "mtime", "rdev", "nlink", "target", "sha256", "xattrs")
NAMES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "character device",
         stat.S_IFBLK: "block device", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}


def xattrs_of(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return {}
        raise
    found = {}
    for name in names:
        if name.startswith(("trusted.overlay.", "user.overlay.")):
            continue
        try:
            found[name] = os.getxattr(path, name, follow_symlinks=False).hex()
        except OSError as error:
            if not (name.startswith("trusted.") and error.errno in (errno.EPERM, errno.ENODATA)):
                raise
    return found


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def describe(path, entry):
    """Returns all that is known of one path; `entry` is its directory entry, if it has one."""
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    is_directory, is_file = kind == stat.S_IFDIR, kind == stat.S_IFREG
    known = {"type": NAMES[kind], "mode": oct(stat.S_IMODE(status.st_mode)), "uid": status.st_uid, "gid": status.st_gid,
             "size": None if is_directory else status.st_size, "mtime": status.st_mtime_ns, "rdev": status.st_rdev,
             "nlink": None if is_directory else status.st_nlink, "ino": status.st_ino,
             "target": os.readlink(path) if kind == stat.S_IFLNK else None,
             "sha256": digest_of(path) if is_file else None, "xattrs": xattrs_of(path)}
    if entry is not None:
        known["entry_ino"] = entry.inode()
        known["entry_type"] = (entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False),
                               entry.is_symlink())
    return known


def walk(root):
    """Yields (path below root, description) of the root and everything in it."""
    yield "", describe(root, None)
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(root, directory)) as entries:
            for entry in list(entries):
                path = os.path.join(directory, entry.name)
                known = describe(os.path.join(root, path), entry)
                if known["type"] == "directory":
                    waiting.append(path)
                yield path, known


def record(root, out):
    with open(out, "w", encoding="ascii") as f:
        for path, known in walk(root):
            f.write(json.dumps([path, known]) + "\n")


def read_record(path):
    with open(path, encoding="ascii") as f:
        return dict(json.loads(line) for line in f)


def link_groups(entries):
    """Returns {path: set of all paths of the same inode}, directories left out."""
    by_inode = {}
    for path, known in entries.items():
        if known["type"] != "directory":
            by_inode.setdefault(known["ino"], set()).add(path)
    return {path: group for group in by_inode.values() for path in group}


def join_lower_links(reference, groups, lower_links):
    """Makes each link into a lower layer one inode with its target, in layer order."""
    for _, link, target in lower_links:
        if link not in reference or target not in reference:
            continue
        if reference[link]["sha256"] != reference[target]["sha256"]:
            continue   # one of them was replaced in a layer above
        joined = groups[link] | groups[target]
        for path in joined:
            reference[path] = dict(reference[link], nlink=None)
            groups[path] = joined


def differences(reference, found, lower_links, ignore):
    groups, found_groups = link_groups(reference), link_groups(found)
    join_lower_links(reference, groups, lower_links)
    for path in sorted(reference.keys() | found.keys()):
        want, have = reference.get(path), found.get(path)
        if want is None or have is None:
            yield path, "presence", "absent" if want is None else want["type"], "absent" if have is None else have["type"]
            continue
        for field in FIELDS:
            a, b = want[field], have[field]
            if field == "xattrs":
                a, b = ({k: v for k, v in x.items() if not k.startswith(ignore)} for x in (a, b))
            if a != b and not (field == "nlink" and a is None):
                yield path, field, a, b
        if groups.get(path) != found_groups.get(path):
            yield path, "hard links", sorted(groups.get(path, ())), sorted(found_groups.get(path, ()))
        yield from inconsistencies(path, have)


def inconsistencies(path, have):
    if "entry_ino" not in have:
        return
    if have["entry_ino"] != have["ino"]:
        yield path, "d_ino and st_ino", have["ino"], have["entry_ino"]
    kinds = [have["type"] == kind for kind in ("directory", "file", "symlink")]
    if kinds != have["entry_type"]:
        yield path, "d_type", have["type"], have["entry_type"]


def diff(reference, found, lower_links, *options):
    ignore = ("trusted.",) if "--no-trusted" in options else ("\0",)
    with open(lower_links, encoding="utf-8") as f:
        links = json.load(f)
    entries = read_record(reference)
    total = len(entries)
    count = 0
    for path, field, want, have in differences(entries, read_record(found), links, ignore):
        count += 1
        if count <= 50:
            print(f"{path!r}: {field}: expected {want!r}, found {have!r}")
    print(f"{total} paths compared, {count} differences")
    return 1 if count else 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "record":
        record(sys.argv[2], sys.argv[3])
    elif len(sys.argv) >= 5 and sys.argv[1] == "diff":
        sys.exit(diff(*sys.argv[2:]))
    else:
        raise SystemExit(__doc__)
