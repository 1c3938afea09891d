#!/usr/bin/env python3
"""extract_layers.py LAYOUT OUT: unpacks every layer of an OCI layout into OUT/<n>,
n = 0 for the base, in the form that kernel overlayfs takes as lowerdir: whiteouts as
character devices 0:0, opaque directories by trusted.overlay.opaque. Run as root.

The second opinion against which the product is compared, so it shares no code with
it. A hard link into a lower layer cannot be kept across overlayfs layers: it becomes a
copy, and OUT/lower-links.json lists [layer, name, target] of each.

Rules: whiteouts act on lower layers only, whatever the order of the tar; a whiteout
and a directory of one name make an opaque directory; the last entry of a name wins;
a directory that the tar only implies has the attributes of the directory below it,
else 0755 root with modification time 0; the header of a hard link sets the attributes
of the shared inode.
"""
import decimal
import json
import os
import shutil
import stat
import sys
import tarfile

import oci_layout

OPAQUE = "trusted.overlay.opaque"
XATTR = "SCHILY.xattr."
HOLE = b"\0" * 65536


def clean(name):
    """Returns the components of a tar name, `..` clamped to the root."""
    parts = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def lstat(path):
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_whiteout(status):
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path):
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def find_below(lowers, parts):
    """Returns where `parts` shows when `lowers` (top first) are merged, or None."""
    for lower in lowers:
        path, hidden = lower, False
        for index, part in enumerate(parts):
            path = os.path.join(path, part)
            status = lstat(path)
            if status is None:
                break
            if index == len(parts) - 1:
                return None if is_whiteout(status) else path
            if not stat.S_ISDIR(status.st_mode):
                return None
            hidden = hidden or is_opaque(path)
        else:
            return path
        if hidden:
            return None
    return None


def copy_attributes(source, path):
    status = os.lstat(source)
    os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(path, stat.S_IMODE(status.st_mode))
    for key in os.listxattr(source, follow_symlinks=False):
        if key != OPAQUE:
            os.setxattr(path, key, os.getxattr(source, key, follow_symlinks=False), follow_symlinks=False)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)


def mtime_ns(member):
    """Returns the modification time in ns; tarfile's float would lose digits."""
    text = member.pax_headers.get("mtime")
    value = decimal.Decimal(text) if text else decimal.Decimal(int(member.mtime))
    return int((value * 1_000_000_000).to_integral_value(decimal.ROUND_FLOOR))


def set_attributes(path, member, is_link=False):
    status = os.lstat(path)
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(path, member.mode & 0o7777)
    for key, value in member.pax_headers.items():
        if key.startswith(XATTR):
            os.setxattr(path, os.fsencode(key[len(XATTR):]), os.fsencode(value), follow_symlinks=False)
    if not (is_link and stat.S_ISDIR(status.st_mode)):
        time = mtime_ns(member)
        os.utime(path, ns=(time, time), follow_symlinks=False)


class Layer:
    """Extracts one layer onto an empty directory, given the layers below it."""

    def __init__(self, root, lowers):
        self.root, self.lowers = root, lowers
        self.directories = {}   # explicit: parts -> member
        self.implied = set()
        self.opaque, self.whiteouts = set(), set()
        self.links = []         # hard links, made when all their targets are there
        self.lower_links = []
        os.mkdir(root, 0o755)
        self.implied.add(())

    def path(self, parts):
        return os.path.join(self.root, *parts)

    def remove(self, parts):
        path = self.path(parts)
        status = lstat(path)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path)
            inside = [d for d in self.implied | self.directories.keys() if d[:len(parts)] == parts]
            for directory in inside:
                self.implied.discard(directory)
                self.directories.pop(directory, None)
        else:
            os.unlink(path)

    def ensure_directory(self, parts):
        for count in range(1, len(parts) + 1):
            directory = parts[:count]
            status = lstat(self.path(directory))
            if status is not None and stat.S_ISDIR(status.st_mode):
                continue
            self.remove(directory)
            os.mkdir(self.path(directory), 0o755)
            self.implied.add(directory)

    def add(self, archive, member):
        parts = clean(member.name)
        base = parts[-1] if parts else ""
        if base == ".wh..wh..opq":
            self.ensure_directory(parts[:-1])
            self.opaque.add(parts[:-1])
        elif base.startswith(".wh..wh."):
            return
        elif base.startswith(".wh."):
            self.ensure_directory(parts[:-1])
            self.whiteouts.add(parts[:-1] + (base[4:],))
        elif member.isdir():
            self.ensure_directory(parts)
            self.implied.discard(parts)
            self.directories[parts] = member
        elif parts:
            self.ensure_directory(parts[:-1])
            self.remove(parts)
            self.links = [link for link in self.links if link[0] != parts]
            if member.islnk():
                self.links.append((parts, clean(member.linkname), member))
            else:
                self.make(self.path(parts), archive, member)

    def make(self, path, archive, member):
        if member.issym():
            os.symlink(member.linkname, path)
        elif member.isfifo():
            os.mkfifo(path)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
        else:
            write_file(path, archive.extractfile(member), member.size)
        set_attributes(path, member)

    def finish(self):
        self.make_links()
        for parts in self.whiteouts:
            status = lstat(self.path(parts))
            if status is None:
                os.mknod(self.path(parts), stat.S_IFCHR, 0)
            elif stat.S_ISDIR(status.st_mode):
                self.opaque.add(parts)
        for parts in self.opaque:
            os.setxattr(self.path(parts), OPAQUE, b"y")
        for parts in sorted(self.implied):
            self.finish_implied(parts)
        for parts, member in sorted(self.directories.items(), reverse=True):
            set_attributes(self.path(parts), member)

    def make_links(self):
        waiting = self.links
        while waiting:
            later = []
            for parts, target, member in waiting:
                if lstat(self.path(target)) is not None:
                    os.link(self.path(target), self.path(parts), follow_symlinks=False)
                    set_attributes(self.path(parts), member, is_link=True)
                else:
                    later.append((parts, target, member))
            if len(later) == len(waiting):
                break
            waiting = later
        for parts, target, member in waiting:
            below = find_below(self.lowers, target)
            if below is None:
                raise SystemExit(f"hard link {'/'.join(parts)}: no target {'/'.join(target)}")
            copy_node(below, self.path(parts))
            set_attributes(self.path(parts), member)
            self.lower_links.append(["/".join(parts), "/".join(target)])

    def finish_implied(self, parts):
        covered = any(parts[:n] in self.opaque for n in range(len(parts) + 1))
        below = None if covered else find_below(self.lowers, parts)
        if below is not None and os.path.isdir(below) and not os.path.islink(below):
            copy_attributes(below, self.path(parts))
        else:
            os.utime(self.path(parts), ns=(0, 0))


def write_file(path, source, size):
    with open(path, "xb") as out:
        while chunk := source.read(len(HOLE)):
            if chunk == HOLE:
                out.seek(len(HOLE), os.SEEK_CUR)
            else:
                out.write(chunk)
        out.truncate(size)


def copy_node(source, path):
    status = os.lstat(source)
    if stat.S_ISREG(status.st_mode):
        with open(source, "rb") as f:
            write_file(path, f, status.st_size)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), path)
    else:
        os.mknod(path, status.st_mode, status.st_rdev)
    copy_attributes(source, path)


def extract(layout, out):
    """Extracts all layers and returns their number."""
    os.makedirs(out)
    roots, lower_links = [], []
    for number, descriptor in enumerate(oci_layout.manifest_of(layout)["layers"]):
        root = os.path.join(out, str(number))
        layer = Layer(root, roots[::-1])
        with oci_layout.open_blob(oci_layout.blob_path(layout, descriptor["digest"])) as blob, \
                tarfile.open(fileobj=blob, mode="r|", bufsize=1 << 20) as archive:
            for member in archive:
                layer.add(archive, member)
                archive.members = []
        layer.finish()
        lower_links += [[number, *link] for link in layer.lower_links]
        roots.append(root)
    with open(os.path.join(out, "lower-links.json"), "w", encoding="utf-8") as f:
        json.dump(lower_links, f)
    return len(roots)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(extract(sys.argv[1], sys.argv[2]), "layers")
