#!/usr/bin/env python3
"""transports.py: times requests and changes by each way to the kernel, against kernel overlayfs.

One lower directory and an empty upper on one disk; peers take turns in every repetition, each
with a new upper. Started by scripts/bench, as root.
"""
import argparse
import os
import random
import shutil
import subprocess

import timing

# Kind, how many, and whether microseconds a request are shown rather than seconds.
REQUESTS = (("absent", 20000), ("open", 10000), ("create", 2000), ("stat", 2000), ("read", 2000), ("unlink", 2000))
COMMANDS = (
    ("untar", 'tar -xf "$TAR" -C .'),
    ("find", "find tree -printf %s >/dev/null"),
    ("ls -lR", "ls -lR tree >/dev/null"),
    ("rm -rf", "rm -rf tree"),
    ("rm -rf lower", "rm -rf lower"),
)


def make_tree(at):
    """Makes 100 directories of 30 files each, the same on every machine."""
    chance = random.Random(1)
    for directory in range(100):
        path = os.path.join(at, f"{directory % 10}", f"{directory}")
        os.makedirs(path)
        for name in range(30):
            with open(os.path.join(path, f"{name}"), "wb") as f:
                f.write(chance.randbytes(chance.randrange(8192)))


class Ground:
    """Directories and one mount point, used by one peer at a time."""

    def __init__(self, work, mica):
        self.root, self.mica = os.path.join(work, "transports"), mica
        shutil.rmtree(self.root, ignore_errors=True)
        self.at = os.path.join(self.root, "point")
        os.makedirs(self.at)
        make_tree(os.path.join(self.root, "l", "lower"))
        with open(os.path.join(self.root, "l", "file"), "wb") as f:
            f.write(b"contents\n")
        self.tar = os.path.join(self.root, "tar")
        subprocess.run(["tar", "-cf", self.tar, "-C", os.path.join(self.root, "l"),
                        "--transform", "s/^lower/tree/", "lower"], check=True)

    def mount(self, peer):
        for name in ("u", "w"):
            shutil.rmtree(os.path.join(self.root, name), ignore_errors=True)
            os.makedirs(os.path.join(self.root, name))
        options = "lowerdir={0}/l,upperdir={0}/u,workdir={0}/w".format(self.root)
        if peer == "kernel":
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.at], check=True)
        else:
            subprocess.run([self.mica, "overlay", "-o", f"{options},transport={peer}", self.at], check=True)

    def once(self, peer, helper):
        """Returns seconds by workload."""
        timing.drop_caches()
        self.mount(peer)
        env = dict(os.environ, LC_ALL="C", TAR=self.tar)
        try:
            times = {kind: timing.run(f"{helper} {kind} {count}", self.at, env) for kind, count in REQUESTS}
            times |= {name: timing.run(command, self.at, env) for name, command in COMMANDS}
        finally:
            subprocess.run(["umount", self.at], check=True)
        return times


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("work", "helpers", "mica", "transports"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--reps", type=int, default=5)
    options = parser.parse_args()
    ground = Ground(options.work, options.mica)
    peers = ["kernel", *options.transports.split(",")]
    helper = os.path.join(options.helpers, "requests")
    seen = {peer: [] for peer in peers}
    for repetition in range(options.reps):
        for peer in timing.rotated(peers, repetition):
            seen[peer].append(ground.once(peer, helper))
    rows = []
    counts = dict(REQUESTS)
    for name in [kind for kind, _ in REQUESTS] + [name for name, _ in COMMANDS]:
        base = [times[name] for times in seen["kernel"]]
        unit, scale = ("us", 1e6 / counts[name]) if name in counts else ("ms", 1e3)
        row = [name, unit, timing.number(scale * timing.median(base), 1)]
        for peer in peers[1:]:
            values = [times[name] for times in seen[peer]]
            row += [timing.number(scale * timing.median(values), 1), timing.number(timing.paired_ratio(values, base), 2)]
        rows.append(row)
    header = ["workload", "", "kernel"]
    for peer in peers[1:]:
        header += [peer, "x kernel"]
    timing.table("Ways to the kernel: an upper over one directory", header, rows)
    shutil.rmtree(ground.root)


if __name__ == "__main__":
    main()
