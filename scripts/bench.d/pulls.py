#!/usr/bin/env python3
"""pulls.py: times pull and unpack from a loopback registry into an empty store, the peers
in turn in every repetition, caches dropped before each. Started by scripts/bench, as root.

Peers: mica, a private containerd, podman, and the bare pipes `curl | gzip -dc` and
`curl | gzip -dc | tar -x`, which are floors and not stores.
"""
import argparse
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request

import peers
import timing

CONTAINERD = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{0}/socket"
"""
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json")
LIMIT, PIPE_LIMIT, MEMORY_LIMIT = 0.3, 0.5, 120   # x faster of containerd and podman; x curl|gzip|tar; MiB


def blobs(registry, image):
    request = urllib.request.Request(f"http://{registry}/v2/{image}/manifests/latest", headers={"Accept": MANIFESTS})
    with urllib.request.urlopen(request) as answer:
        return [layer["digest"] for layer in json.load(answer)["layers"]]


def timed(command, **options):
    """Runs a command and returns (seconds, peak MiB), or (None, None) if it failed."""
    peak = [0]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)

    def watch():
        while process.poll() is None:
            try:
                peak[0] = peers.memory(process.pid)[0]
            except (OSError, KeyError):
                return
            time.sleep(0.02)
    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    seconds = time.perf_counter() - start
    watcher.join()
    return (seconds, peak[0] / 1024) if status == 0 else (None, None)


class Pulls:
    def __init__(self, options):
        self.options = options
        self.store = os.path.join(options.work, "pull")

    def reference(self, image):
        return f"{self.options.registry}/{image}:latest"

    def mica(self, image):
        return timed([self.options.mica, "--root", self.store, "pull", "-q", self.reference(image)])

    def podman(self, image):
        return timed(["podman", "--root", self.store + "/storage", "--runroot", self.store + "/run",
                      "--storage-driver", "overlay", "pull", "-q", "--tls-verify=false", self.reference(image)])

    def containerd(self, image):
        config = os.path.join(self.store, "config.toml")
        with open(config, "w", encoding="ascii") as f:
            f.write(CONTAINERD.format(self.store))
        daemon = subprocess.Popen(["containerd", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = ["ctr", "-a", self.store + "/socket"]
        try:
            for _ in range(200):
                if subprocess.run([*client, "version"], capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.05)
            timing.drop_caches()
            seconds, _ = timed([*client, "images", "pull", "--plain-http", self.reference(image)])
            return seconds, peers.memory(daemon.pid)[0] / 1024
        finally:
            daemon.terminate()
            daemon.wait(30)

    def pipe(self, image, end):
        urls = [f"http://{self.options.registry}/v2/{image}/blobs/{digest}" for digest in blobs(self.options.registry, image)]
        script = 'set -o pipefail; for url; do curl -fsS "$url" | gzip -dcf ' + end + " || exit 1; done"
        return timed(["bash", "-c", script, "pipe", *urls], cwd=self.store)

    def gunzip(self, image):
        return self.pipe(image, ">/dev/null")

    def untar(self, image):
        # one directory, no whiteouts: tar complains where a layer turns a directory into a link
        return self.pipe(image, "| tar -xp --unlink-first --recursive-unlink --exclude '.wh.*' 2>/dev/null; true")

    def once(self, peer, image):
        os.makedirs(self.store)
        timing.drop_caches()
        try:
            return getattr(self, peer)(image)
        finally:
            with open("/proc/self/mountinfo", encoding="utf-8") as f:
                inside = [line.split()[4] for line in f if line.split()[4].startswith(self.store + "/")]
            for at in reversed(inside):
                subprocess.run(["umount", at], check=True)
            shutil.rmtree(self.store)

    def image(self, image, names):
        results = {name: [] for name in names}
        for repetition in range(self.options.reps):
            for name in timing.rotated(names, repetition):
                results[name].append(self.once(name, image))
        seconds = {name: [s for s, _ in values] for name, values in results.items()}
        stores = [n for n in ("containerd", "podman") if timing.median(seconds.get(n, [])) is not None]
        fastest = min(stores, key=lambda n: timing.median(seconds[n]), default=None)
        against, limit = ("untar", PIPE_LIMIT) if image.startswith("deep") else (fastest, LIMIT)
        for name in names:
            ratio = timing.paired_ratio(seconds[name], seconds[against]) if against in seconds else None
            peak = timing.median([m for _, m in results[name]])
            mine = name == "mica"
            yield [image, name, timing.number(timing.median(seconds[name]), 2) if timing.median(seconds[name]) else "failed",
                   against or "", timing.number(ratio, 2), limit if mine else "", timing.verdict(ratio, limit if mine else None),
                   timing.number(peak, 0), timing.verdict(peak, MEMORY_LIMIT) if mine else ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--mica")
    parser.add_argument("--peers", default="mica,containerd,podman,gunzip,untar")
    parser.add_argument("--images", default="python,toolchain,node,deep")
    parser.add_argument("--reps", type=int, default=5)
    options = parser.parse_args()
    pulls = Pulls(options)
    for image in options.images.split(","):
        timing.table(f"Pull and unpack: {image}",
                     ["image", "peer", "seconds", "against", "ratio", "at most", "", "peak MiB", "under 120"],
                     pulls.image(image, options.peers.split(",")))


if __name__ == "__main__":
    main()
