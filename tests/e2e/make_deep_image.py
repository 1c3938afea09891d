#!/usr/bin/env python3
"""make_deep_image.py BASE-TAR OUT: makes OUT/debian-min, the archive as an image of one
layer, and OUT/deep, the same with 61 layers on top that hold what is hard to show right.

Layers are written straight as tar archives: fast, the same every time, and able to
hold what no build tool writes. Each of the fifteen kinds below comes round four times,
with another tar dialect each time; the last layer is hostile but legal.
"""
import io
import os
import random
import sys
import tarfile

import oci_layout

TIME = 1_700_000_000
CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + b"\x00" * 12   # cap_net_raw, permitted
ROUNDS = 4


class Tar:
    """Writes one layer."""

    def __init__(self, path, dialect):
        self.archive = tarfile.open(path, "w", format=dialect, errors="surrogateescape")

    def add(self, name, kind=tarfile.REGTYPE, data=b"", mode=0o644, mtime=TIME, xattrs=(), **fields):
        member = tarfile.TarInfo(name)
        member.type, member.size, member.mode, member.mtime = kind, len(data), mode, mtime
        for field, value in fields.items():
            setattr(member, field, value)
        for key, value in dict(xattrs).items():
            member.pax_headers["SCHILY.xattr." + key] = os.fsdecode(value)
        self.archive.addfile(member, io.BytesIO(data))

    def directory(self, name, mode=0o755, **fields):
        self.add(name, tarfile.DIRTYPE, mode=mode, **fields)

    def symlink(self, name, target, **fields):
        self.add(name, tarfile.SYMTYPE, mode=0o777, linkname=target, **fields)

    def link(self, name, target, **fields):
        self.add(name, tarfile.LNKTYPE, linkname=target, **fields)

    def whiteout(self, name):
        directory, base = os.path.split(name)
        self.add(os.path.join(directory, ".wh." + base))

    def opaque(self, directory):
        self.add(directory + "/.wh..wh..opq")

    def sparse(self, name, size, extents):
        """A PAX 1.0 sparse file; `extents` is [(offset, data)]."""
        numbers = [len(extents)] + [n for offset, data in extents for n in (offset, len(data))]
        table = "".join(f"{n}\n" for n in numbers).encode()
        body = table + b"\0" * (-len(table) % 512) + b"".join(data for _, data in extents)
        member = tarfile.TarInfo(f"GNUSparseFile.0/{os.path.basename(name)}")
        member.size, member.mtime = len(body), TIME
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                              "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)}
        self.archive.addfile(member, io.BytesIO(body))

    def close(self):
        self.archive.close()


def many_files(t, i):
    t.directory(f"d/l{i}")
    for k in range(50):
        t.add(f"d/l{i}/f{k}", data=f"{i}-{k}\n".encode())
    t.add("d/counter", data=f"{i}\n".encode())


def whiteouts(t, i):
    for k in range(10):
        t.whiteout(f"d/l{i - 1}/f{k}")
    t.whiteout("usr/share/doc/" + ("apt", "bash", "coreutils", "dpkg")[i // 15])


def opaque_directory(t, i):
    t.directory(f"d/l{i - 2}", mtime=TIME + i)
    t.opaque(f"d/l{i - 2}")
    t.add(f"d/l{i - 2}/only", data=b"new\n")


def hard_links(t, i):
    t.directory("d/h")
    t.add(f"d/h/a{i}", data=b"body\n")
    t.link(f"d/h/b{i}", f"d/h/a{i}")
    t.link(f"d/h/forward{i}", f"d/h/z{i}")
    t.add(f"d/h/z{i}", data=b"comes after its link\n")


def symlinks(t, i):
    t.directory(f"d/s/real{i}")
    t.add(f"d/s/real{i}/f", data=b"x\n")
    t.symlink(f"d/s/switch{i}", f"real{i}")
    t.symlink(f"d/s/dangling{i}", "/nonexistent/" + "x" * 200)
    t.symlink(f"d/s/loop{i}", f"loop{i}")


def symlink_and_directory(t, i):
    t.directory(f"d/s/switch{i - 1}")
    t.add(f"d/s/switch{i - 1}/now-a-directory", data=b"y\n")
    t.symlink(f"d/s/real{i - 1}", f"switch{i - 1}")


def xattrs(t, i):
    t.directory("d/x", xattrs={"user.dir": f"d{i}".encode()})
    t.add(f"d/x/cap{i}", data=b"#!/bin/true\n", mode=0o755,
          xattrs={"security.capability": CAPABILITY, "user.layer": str(i).encode(),
                  "user.bytes": b"\x00\xff=\n", "trusted.note": b"t"})


def modes(t, i):
    t.directory("d/m")
    t.add(f"d/m/suid{i}", data=b"s", mode=0o4755, uid=1234, gid=5678)
    t.add(f"d/m/sgid{i}", data=b"s", mode=0o2755)
    t.directory(f"d/m/sticky{i}", mode=0o1777)
    t.add(f"d/m/none{i}", data=b"unreadable\n", mode=0, uid=65534, gid=65534)
    t.directory(f"d/m/closed{i}", mode=0, uid=3_000_000, gid=3_000_000)
    t.add(f"d/m/closed{i}/inside", data=b"inside\n", mode=0o600)


def devices(t, i):
    t.directory("d/n")
    t.add(f"d/n/null{i}", tarfile.CHRTYPE, devmajor=1, devminor=3)
    t.add(f"d/n/block{i}", tarfile.BLKTYPE, devmajor=7, devminor=i)
    t.add(f"d/n/fifo{i}", tarfile.FIFOTYPE)
    t.add(f"d/n/large{i}", tarfile.CHRTYPE, devmajor=4095, devminor=1048575, mode=0o600)


def names(t, i):
    long = f"{i:0250d}"
    t.add(f"d/u/{long}", data=b"l\n")
    t.add(f"d/u/{long}.d/{long}/{long}/{long}/{long}", data=b"deep\n")
    t.directory(f"d/u/{long}.d", mode=0o700)
    for name in (f"üñïçødé-{i}-日本語-😀", f"nfd-e\u0301{i}", f"bad\udcff{i}", f' sp ace "q" \\ {i}', f"nl\n_{i}", f"-{i}"):
        t.add(f"d/u/{name}", data=os.fsencode(name))


def sizes(t, i):
    t.directory("d/p")
    t.sparse(f"d/p/sparse{i}", 64 << 20, [(0, b"start"), (32 << 20, b"middle" * 1000), ((64 << 20) - 3, b"end")])
    t.sparse(f"d/p/hole{i}", 1 << 20, [])
    t.add(f"d/p/empty{i}")
    t.add(f"d/p/random{i}", data=random.Random(i).randbytes(300_000))


def changed_again(t, i):
    t.add("d/counter", data=f"{i} again\n".encode(), mtime=i % 10, mode=0o600 + i % 8)
    t.directory("d", mode=0o705 + 8 * (i % 8), mtime=TIME + i)
    t.add("etc/motd", data=b"layer\n" * i)
    t.add(f"d/p/random{i - 1}", data=b"shorter\n")


def deleted_and_made_again(t, i):
    t.whiteout("d/l0")
    t.directory("d/l0")
    t.add(f"d/l0/again{i}", data=b"again\n")
    t.add("d/twice", data=b"first\n")
    t.add("d/twice", data=b"last wins\n", mode=0o640)


def kinds_changed(t, i):
    t.whiteout(f"d/h/b{i - 10}")
    t.directory(f"d/n/null{i - 5}")
    t.add(f"d/n/null{i - 5}/file", data=b"was a device\n")
    t.whiteout("d/u/" + f"{i - 4:0250d}.d")
    t.add(f"d/p/empty{i - 3}", mtime=1_000_000_000.5)
    t.add(f"d/p/future{i}", mtime=4_296_000_000)


def deep_directories(t, i):
    path = "d/w/a/b/c/d/e/f/g/h/i/j/k"
    for k in range(20):
        t.add(f"{path}/{k}-{i}", data=f"{k}\n".encode())
    t.symlink(f"d/s/dangling{i - 10}", "elsewhere", uid=1000, gid=1000)


KINDS = (many_files, whiteouts, opaque_directory, hard_links, symlinks, symlink_and_directory, xattrs, modes, devices,
         names, sizes, changed_again, deleted_and_made_again, kinds_changed, deep_directories)


def hostile(t, _i):
    """Hard links into lower layers only, markers after what they mark, names that climb."""
    t.directory("d/raw")
    t.link("d/raw/to-the-base", "etc/host.conf", mode=0o644)
    t.link("d/raw/to-a-middle-layer", "d/l15/only", mode=0o600)
    t.link("d/raw/to-a-link", "d/h/z18", mode=0o644)
    t.directory("d/w/a")
    t.add("d/w/a/kept", data=b"comes before the opaque marker\n")
    t.opaque("d/w/a")
    t.whiteout("d/u/never-existed")
    t.add("../../d/raw/climbs", data=b"stays inside\n")
    t.add("/d/raw/absolute", data=b"stays inside\n")
    t.add("./d/./raw//untidy", data=b"tidied\n")


def dialect(kind, round_number):
    """PAX where the kind needs it, else GNU in every other round."""
    needs_pax = kind in (xattrs, sizes, kinds_changed)
    return tarfile.PAX_FORMAT if needs_pax or round_number % 2 == 0 else tarfile.GNU_FORMAT


def main(base_tar, out):
    base, deep = os.path.join(out, "debian-min"), os.path.join(out, "deep")
    writer = oci_layout.Writer(base)
    writer.add_layer(base_tar)
    writer.finish()
    writer = oci_layout.Writer(deep, base)
    scratch = os.path.join(deep, "layer.tar")
    plan = [(kind, r) for r in range(ROUNDS) for kind in KINDS] + [(hostile, 0)]
    for number, (kind, round_number) in enumerate(plan):
        tar = Tar(scratch, dialect(kind, round_number))
        kind(tar, number)
        tar.close()
        writer.add_layer(scratch, compress=number % 7 != 0)
    os.unlink(scratch)
    writer.finish()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2])
