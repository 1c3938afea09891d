#!/usr/bin/env python3
"""views.py: times reading through mounted views, the peers in turn in every repetition.

Cold: caches dropped, then a new mount. Warm: later runs in the same mount. The reference
of every ratio is kernel overlayfs over the same layers. Started by scripts/bench, as root.
"""
import argparse
import functools
import os
import random
import shutil
import subprocess
import time

import peers as peer_kinds
import timing
from workloads import DEPTH_LIMIT, DEPTH_WORKLOADS, DEPTHS, WORKLOADS


def make_lists(kernel, work, image):
    """Writes the names that look-ups and small reads go through, in an order of no meaning."""
    lists = os.path.join(work, "lists", image)
    if os.path.isdir(lists):
        return lists
    os.makedirs(lists)
    at = os.path.join(work, "view")
    kernel.mount(image, at)
    try:
        names = subprocess.run(["find", ".", "-xdev", "-mindepth", "1", "-printf", "%y %s %P\\n"],
                               cwd=at, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    finally:
        kernel.unmount(at)
    entries = [name.split(b" ", 2) for name in names]
    entries = sorted(entry for entry in entries if len(entry) == 3)
    small = [path for kind, size, path in entries if kind == b"f" and int(size) < 16384]
    chance = random.Random(1)
    chance.shuffle(small)
    for name, paths in (("small", small[:5000]), ("names", [path for _, _, path in entries[::2]])):
        with open(os.path.join(lists, name), "wb") as f:
            f.write(b"".join(path + b"\n" for path in paths))
    return lists


class Bench:
    """The peers, the options, and one mount point used by one peer at a time."""

    def __init__(self, options, peers):
        self.options, self.peers = options, peers
        self.at = os.path.join(options.work, "view")
        os.makedirs(self.at, exist_ok=True)
        if any(peer.switch for peer in peers):
            shutil.chown(self.at, "nobody")
        self.kernel = next(p for p in peers if p.name == "kernel")

    def environment(self, image):
        return dict(os.environ, LC_ALL="C", HELPERS=self.options.helpers,
                    LISTS=make_lists(self.kernel, self.options.work, image))

    def once(self, peer, image, command, env):
        """One mount: returns (cold seconds, [warm seconds])."""
        timing.drop_caches()
        peer.mount(image, self.at)
        try:
            times = [timing.run(command, self.at, env, peer.switch) for _ in range(1 + self.options.warm)]
        finally:
            peer.unmount(self.at)
        return times[0], times[1:]

    def measure(self, image, command):
        """Returns {peer: ([cold], [warm])}, a value for every repetition."""
        env = self.environment(image)
        result = {peer.name: ([], []) for peer in self.peers}
        for repetition in range(self.options.reps):
            for peer in timing.rotated(self.peers, repetition):
                cold, warm = self.once(peer, image, command, env)
                result[peer.name][0].append(cold)
                result[peer.name][1].append(timing.median(warm))
        return result

    def wanted(self, name, images):
        if self.options.only and name not in self.options.only:
            return []
        return [i for i in images if not self.options.images or i in self.options.images]

    def reading(self):
        rows, against_root = [], []
        for name, workload in WORKLOADS.items():
            for image in self.wanted(name, workload.images):
                result = self.measure(image, workload.command)
                for phase, (label, limit) in enumerate(zip(("cold", "warm"), workload.limits)):
                    base = result["kernel"][phase]
                    row = [name, image, label, timing.number(timing.median(base))]
                    for peer in self.peers:
                        if peer.name == "kernel":
                            continue
                        ratio = timing.paired_ratio(result[peer.name][phase], base)
                        row += [timing.number(timing.median(result[peer.name][phase])), timing.number(ratio, 2)]
                        if peer.name == "mica":
                            row += [limit, timing.verdict(ratio, limit)]
                    rows.append(row)
                    print("  ".join(map(str, row)), flush=True)
                    if "mica-user" in result and "mica" in result:
                        of_user, of_root = (result[peer][phase] for peer in ("mica-user", "mica"))
                        against_root.append([name, image, label, timing.number(timing.median(of_root)),
                                             timing.number(timing.median(of_user)),
                                             timing.number(timing.paired_ratio(of_user, of_root), 2)])
        header = ["workload", "image", "", "kernel s"]
        for peer in self.peers:
            if peer.name != "kernel":
                header += [f"{peer.name} s", "x kernel"] + (["at most", ""] if peer.name == "mica" else [])
        if rows:
            timing.table("Reading", header, rows)
        if against_root:
            timing.table("Reading as an ordinary user", ["workload", "image", "", "root s", "user s", "x root"], against_root)

    def depth(self):
        rows = []
        for name, workload in DEPTH_WORKLOADS.items():
            images = self.wanted(name, workload.images)
            if "chain1" not in images:
                continue
            cold = {image: {k: v[0] for k, v in self.measure(image, workload.command).items()} for image in images}
            for peer in self.peers:
                ratio = timing.paired_ratio(cold[images[-1]][peer.name], cold["chain1"][peer.name])
                mine = peer.name == "mica"
                rows.append([name, peer.name, *(timing.number(timing.median(cold[i][peer.name])) for i in images),
                             timing.number(ratio, 2), DEPTH_LIMIT if mine else "",
                             timing.verdict(ratio, DEPTH_LIMIT if mine else None)])
        if rows:
            images = [i for i in DEPTHS if not self.options.images or i in self.options.images]
            timing.table("Depth, cold: seconds, and deepest against one layer",
                         ["workload", "peer", *images, "ratio", "at most", ""], rows)

    def first_ls(self):
        rows = []
        for image in self.wanted("first", ("node", "chain1", "chain500")):
            result = {peer.name: [] for peer in self.peers}
            for repetition in range(self.options.reps):
                for peer in timing.rotated(self.peers, repetition):
                    timing.drop_caches()
                    subprocess.run(["ls", "/"], stdout=subprocess.DEVNULL, check=True)
                    start = time.perf_counter()
                    peer.mount(image, self.at)
                    subprocess.run([*peer.switch, "ls", self.at], stdout=subprocess.DEVNULL, check=True)
                    result[peer.name].append(1000 * (time.perf_counter() - start))
                    peer.unmount(self.at)
            for name, values in result.items():
                limit = 30 if name == "mica" else None
                rows.append([image, name, timing.number(timing.median(values), 1), limit or "",
                             timing.verdict(timing.median(values), limit)])
        if rows:
            timing.table("Mount to first ls", ["image", "peer", "ms", "at most", ""], rows)

    def peak_memory(self):
        rows = []
        for image in self.wanted("memory", ("node",)):
            for peer in self.peers:
                peer.mount(image, self.at)
                try:
                    pid = peer.server(self.at)
                    for command in ("find . >/dev/null", "ls -lR . >/dev/null"):
                        timing.run(command, self.at, os.environ, peer.switch)
                    if pid:
                        peak, anonymous = peer_kinds.memory(pid)
                        rows.append([image, peer.name, timing.number(peak / 1024, 1), timing.number(anonymous / 1024, 1),
                                     30 if peer.name == "mica" else "",
                                     timing.verdict(anonymous / 1024, 30) if peer.name == "mica" else ""])
                finally:
                    peer.unmount(self.at)
        if rows:
            timing.table("Memory after find and ls -lR (the limit is for what is not a mapped file)",
                         ["image", "peer", "peak MiB", "anonymous MiB", "at most", ""], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("work", "trees", "helpers"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--mica")
    parser.add_argument("--store")
    parser.add_argument("--user-mica", help="the program, where an ordinary user can reach it")
    parser.add_argument("--user-store")
    parser.add_argument("--registry", help="host:port that the store was filled from")
    parser.add_argument("--peers", default="kernel,fuse-overlayfs,mica")
    parser.add_argument("--only", default="")
    parser.add_argument("--images", default="")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--warm", type=int, default=2)
    options = parser.parse_args()
    options.only = [w for w in options.only.split(",") if w]
    options.images = [i for i in options.images.split(",") if i]

    def mica(transport=None):
        return peer_kinds.Mica(options.mica, options.store, lambda image: f"{options.registry}/{image}:latest", transport)

    made = {
        "kernel": lambda: peer_kinds.Kernel(options.trees),
        "fuse-overlayfs": lambda: peer_kinds.FuseOverlayfs(options.trees),
        "mica": mica,
        "mica-user": lambda: peer_kinds.MicaOfUser(
            options.user_mica, options.user_store, lambda image: f"{options.registry}/{image}:latest"),
        **{f"mica-{name}": functools.partial(mica, name) for name in ("ring", "poll", "block")},
    }
    bench = Bench(options, [made[name]() for name in options.peers.split(",")])
    bench.reading()
    bench.depth()
    bench.first_ls()
    bench.peak_memory()


if __name__ == "__main__":
    main()
