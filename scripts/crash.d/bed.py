"""The store that commands are killed on, and what is asked of it."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import layout
import registry
import steps

EXPIRED = "containerd.io/gc.expire=2020-01-01T00:00:00Z"


class Bed:
    def __init__(self, top, mica):
        self.top, self.mica = top, mica
        self.store = os.path.join(top, "store")
        self.environment = dict(os.environ, SOURCE_DATE_EPOCH="1700000000")
        self.first, self.second = os.path.join(top, "first"), os.path.join(top, "second")
        self.archive, self.out = os.path.join(top, "archive.tar"), os.path.join(top, "out")
        self.digest = layout.make(self.first, range(4))
        layout.make(self.second, range(2, 6))
        self.image, self.other = "localhost/first:latest", "localhost/second:latest"
        self.registry = registry.Registry()
        self.remote = self.registry.address + "/second:latest"
        self.ok("pull", "-q", "oci:" + self.first)
        self.ok("pull", "-q", "oci:" + self.second)
        self.ok("push", "-q", self.other, self.remote)
        self.ok("export", self.image, "-o", self.archive)
        self.forget_other()

    def run(self, *words):
        command = [self.mica, "--root", self.store, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment)

    def ok(self, *words):
        result = self.run(*words)
        if result.returncode != 0:
            self.fail(f"{words}: {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def fail(self, why):
        sys.exit(f"{why}\nkept: {self.top}")

    def require(self, condition, why):
        if not condition:
            self.fail(why)

    def killed_at_moment(self, words, seconds):
        """Runs a command and kills it after a time; returns its status and the seconds that it took."""
        start = time.monotonic()
        process = subprocess.Popen([self.mica, "--root", self.store, *words], env=self.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait(), time.monotonic() - start

    def killed_at_step(self, words, step=None):
        """Runs a command and kills it before one of its changes of the disk; returns as `steps.run` does."""
        return steps.run([self.mica, "--root", self.store, *words], self.environment, step)

    @contextlib.contextmanager
    def disk_with(self, room):
        """Fills the disk but for so many bytes, for as long as it is used."""
        disk, filler = os.statvfs(self.top), os.path.join(self.top, "filler")
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(disk.f_bavail * disk.f_frsize - room, 1))
        yield
        os.remove(filler)

    def has_reserve(self):
        """Says whether the store keeps room for its database."""
        return os.path.exists(os.path.join(self.store, "meta.reserve"))

    def snapshots(self):
        return {record["name"] for record in json.loads(self.ok("snapshot", "ls", "--json"))}

    def living_snapshots(self):
        """Returns the names of those that no collection may remove."""
        live = json.loads(self.ok("gc", "--dry-run", "--json"))["live"]
        return {thing["id"] for thing in live if thing["type"] == "snapshot"}

    def images(self):
        return {record["name"] for record in json.loads(self.ok("images", "--json"))}

    def is_complete(self, image):
        checked = json.loads(self.ok("image", "check", "--json", f"name=={image}"))
        return [found["status"] for found in checked] == ["complete"]

    def renew(self):
        shutil.rmtree(self.store)

    def end_leases(self):
        """Forgets what commands that failed have kept for the next try."""
        for lease in json.loads(self.ok("lease", "ls", "--json")):
            self.ok("lease", "rm", lease["id"])

    def forget_other(self):
        self.end_leases()
        for image in {self.other, self.remote} & self.images():
            self.ok("image", "rm", image)
        self.ok("gc")

    def make_garbage(self):
        """Leaves an image that has expired, with blobs, layers and snapshots of its own."""
        self.ok("pull", "-q", "oci:" + self.second)
        self.ok("image", "label", self.other, EXPIRED)

    def change(self, key):
        """Makes an active snapshot with a file in its upper."""
        before = set(os.listdir(os.path.join(self.store, "snapshots")))
        self.ok("snapshot", "prepare", key, self.image)
        (made,) = set(os.listdir(os.path.join(self.store, "snapshots"))) - before
        with open(os.path.join(self.store, "snapshots", made, "fs/new"), "wb") as file:
            file.write(key.encode() * 50_000)

    def damage_layer(self, place):
        layers = os.path.join(self.store, "layers/sha256")
        found = sorted(os.listdir(layers))
        with open(os.path.join(layers, found[place % len(found)], "index"), "r+b") as file:
            file.truncate(10)
