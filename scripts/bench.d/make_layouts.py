#!/usr/bin/env python3
"""make_layouts.py BASE OUT NAME...: makes the synthetic images of the benchmark as OCI
layouts OUT/<name> from the one-layer image BASE; those already there are left alone.

  big       BASE and a second layer with big.bin, 1 GiB of random bytes
  chain<N>  the files of BASE dealt out over N layers, directories repeated in every
            layer that has a file of theirs: the same merged tree for every N
"""
import os
import shutil
import sys
import tarfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import oci_layout  # noqa: E402

GIBIBYTE = 1 << 30


class Noise:
    """A file of random bytes, for tarfile to read."""

    def read(self, size):
        return os.urandom(size)


def make_big(base, layout):
    writer = oci_layout.Writer(layout, base)
    tar = os.path.join(layout, "big.tar")
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("big.bin")
        member.size, member.mode, member.mtime = GIBIBYTE, 0o644, 1_700_000_000
        archive.addfile(member, Noise())
    writer.add_layer(tar, compress=False)
    os.unlink(tar)
    writer.finish()


def deal(base, layout, count):
    """Deals the entries of BASE out over `count` tars, a hard link beside its target."""
    tars = [tarfile.open(os.path.join(layout, f"{n}.tar"), "w", format=tarfile.PAX_FORMAT) for n in range(count)]
    directories, has, place, dealt = {}, set(), {}, 0

    def need(number, name):
        if not name or (number, name) in has:
            return
        need(number, os.path.dirname(name))
        has.add((number, name))
        if name in directories:
            tars[number].addfile(directories[name])

    blob = oci_layout.blob_path(base, oci_layout.manifest_of(base)["layers"][0]["digest"])
    with oci_layout.open_blob(blob) as plain, tarfile.open(fileobj=plain, mode="r|", bufsize=1 << 20) as archive:
        for member in archive:
            name = member.name.strip("/").removeprefix("./")
            if member.isdir():
                directories[name] = member
                need(0, name)
                continue
            if member.islnk():
                number = place[member.linkname.removeprefix("./")]
            else:
                number, dealt = dealt % count, dealt + 1
            place[name] = number
            need(number, os.path.dirname(name))
            tars[number].addfile(member, archive.extractfile(member) if member.isreg() else None)
    for tar in tars:
        tar.close()
    return [tar.name for tar in tars]


def make_chain(base, layout, count):
    writer = oci_layout.Writer(layout)
    for tar in deal(base, layout, count):
        writer.add_layer(tar)
        os.unlink(tar)
    writer.finish()


def main(base, out, names):
    for name in names:
        done, layout = os.path.join(out, name), os.path.join(out, name + ".part")
        if os.path.isdir(done):
            continue
        shutil.rmtree(layout, ignore_errors=True)
        if name == "big":
            make_big(base, layout)
        elif name.startswith("chain"):
            make_chain(base, layout, int(name.removeprefix("chain")))
        else:
            raise SystemExit(f"unknown image {name}")
        os.rename(layout, done)
        print(name, "made")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
