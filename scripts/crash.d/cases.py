"""The commands that are killed: what each needs, what it promises, and how it is run again.

`before` brings the store where the command has something to do. `after` looks at what must hold, whatever
the moment at which it was killed (`is_done`: it was not, and has acknowledged). `again` must succeed then.
"""
import filecmp
import json
import os
import shutil

import layout


class Case:
    """A command that can be run again as it is."""
    name, words = "", []
    keeps_snapshots = True
    frees = False  # that much has to work on a full disk

    def __init__(self, bed, turn):
        self.bed, self.turn = bed, turn

    def before(self):
        pass

    def after(self, is_done):
        pass

    def again(self):
        self.bed.ok(*self.words)

    def close(self):
        pass


class Pull(Case):
    name = "pull into a new store"
    keeps_snapshots = False

    def before(self):
        self.words = ["pull", "-q", "oci:" + self.bed.first]
        self.bed.renew()

    def after(self, is_done):
        images = self.bed.images()
        self.bed.require(images == ({self.bed.image} if is_done else images & {self.bed.image}), f"{images}")
        count = len(self.bed.snapshots())
        self.bed.require(count == 4 * len(images), f"{images} with {count} snapshots")


class PullFromRegistry(Case):
    name = "pull from a registry"

    def before(self):
        self.words = ["pull", "-q", self.bed.remote]
        self.bed.forget_other()

    def after(self, is_done):
        is_there = self.bed.remote in self.bed.images()
        self.bed.require(is_there or not is_done, "the image is lost")
        self.bed.require(not is_there or self.bed.is_complete(self.bed.remote), "the image is not complete")


class Push(Case):
    name = "push"

    def before(self):
        self.repository = f"pushed-{self.turn}"
        self.words = ["push", "-q", self.bed.image, f"{self.bed.registry.address}/{self.repository}:1"]

    def after(self, is_done):
        found = self.bed.registry.manifests.get((self.repository, "1"))
        self.bed.require(found or not is_done, "nothing was pushed")
        if found:
            manifest = json.loads(found[1])
            for part in [manifest["config"], *manifest["layers"]]:
                self.bed.require((self.repository, part["digest"]) in self.bed.registry.blobs, "pushed in part")

    def close(self):
        for things in (self.bed.registry.blobs, self.bed.registry.manifests):
            for key in [key for key in things if key[0] == self.repository]:
                del things[key]


class Import(Case):
    name = "import"

    def before(self):
        self.words = ["import", "-q", self.bed.archive]
        self.bed.renew()

    def after(self, is_done):
        is_there = self.bed.image in self.bed.images()
        self.bed.require(is_there or not is_done, "the image is lost")
        self.bed.require(not is_there or self.bed.is_complete(self.bed.image), "the image is not complete")

    keeps_snapshots = False


class Export(Case):
    name = "export to a file"

    def before(self):
        self.words = ["export", self.bed.image, "-o", self.bed.out]
        if os.path.exists(self.bed.out):
            os.remove(self.bed.out)

    def after(self, is_done):
        is_there = os.path.exists(self.bed.out)
        self.bed.require(is_there or not is_done, "the archive is lost")
        self.bed.require(not is_there or filecmp.cmp(self.bed.out, self.bed.archive, False), "half an archive")

    def close(self):
        self.after(True)
        os.remove(self.bed.out)


class ExportDirectory(Case):
    name = "export to a directory"

    def before(self):
        self.words = ["export", self.bed.image, "-o", self.bed.out + "/"]
        os.mkdir(self.bed.out)

    def after(self, is_done):
        is_there = os.path.exists(os.path.join(self.bed.out, "index.json"))
        self.bed.require(is_there or not is_done, "the layout is lost")
        self.bed.require(not is_there or layout.is_whole(self.bed.out), "half a layout")

    def close(self):
        self.after(True)
        shutil.rmtree(self.bed.out)


class Commit(Case):
    name = "image commit"

    def before(self):
        self.key, self.made = f"changed-{self.turn}", f"localhost/made-{self.turn}:1"
        self.words = ["image", "commit", self.key, self.made]
        self.bed.change(self.key)

    def after(self, is_done):
        is_there = self.made in self.bed.images()
        self.bed.require(is_there or not is_done, "the image is lost")
        self.bed.require(not is_there or self.bed.is_complete(self.made), "the image is not complete")

    def close(self):
        self.after(True)
        self.bed.ok("image", "rm", self.made)
        self.bed.ok("snapshot", "rm", self.key)


class Collect(Case):
    name, words = "gc", ["gc"]
    keeps_snapshots = False
    frees = True

    def before(self):
        self.bed.make_garbage()

    def after(self, is_done):
        self.bed.require(self.bed.image in self.bed.images(), "an image is lost")
        self.bed.require(not is_done or self.bed.other not in self.bed.images(), "garbage is left")

    def close(self):
        self.after(True)
        self.bed.require(self.bed.is_complete(self.bed.image), "an image is not complete")
        self.bed.require(len(self.bed.snapshots()) >= 4, "snapshots are lost")


class Remove(Collect):
    name = "image rm"

    def before(self):
        self.words = ["image", "rm", self.bed.other]
        self.bed.ok("pull", "-q", "oci:" + self.bed.second)

    def again(self):
        if self.bed.other in self.bed.images():
            self.bed.ok(*self.words)


class Check(Case):
    name, words = "check", ["check"]


class Repair(Case):
    name, words = "check --repair", ["check", "--repair"]

    def before(self):
        self.bed.damage_layer(self.turn)

    def after(self, is_done):
        self.bed.ok(*self.words)


class Rebuild(Case):
    name, words = "check --rebuild", ["check", "--rebuild"]
    keeps_snapshots = False

    def before(self):
        self.snapshots = self.bed.snapshots()
        shutil.rmtree(os.path.join(self.bed.store, "meta.sled"))

    def after(self, is_done):
        self.bed.ok(*self.words)
        self.bed.require(self.snapshots == self.bed.snapshots(), "snapshots are lost")


class Prepare(Case):
    name = "snapshot prepare"

    def before(self):
        self.key = f"work-{self.turn}"
        self.words = ["snapshot", "prepare", self.key, self.bed.image]

    def after(self, is_done):
        self.bed.require(self.key in self.bed.snapshots() or not is_done, "the snapshot is lost")

    def again(self):
        if self.key not in self.bed.snapshots():
            self.bed.ok(*self.words)

    def close(self):
        self.bed.ok("snapshot", "rm", self.key)


class CommitSnapshot(Case):
    name = "snapshot commit"

    def before(self):
        self.key, self.made = f"work-{self.turn}", f"done-{self.turn}"
        self.words = ["snapshot", "commit", self.made, self.key]
        self.bed.change(self.key)

    def after(self, is_done):
        found = {self.key, self.made} & self.bed.snapshots()
        self.bed.require(len(found) == 1 and (self.made in found or not is_done), f"neither old nor new: {found}")

    def again(self):
        if self.key in self.bed.snapshots():
            self.bed.ok(*self.words)

    def close(self):
        self.bed.ok("snapshot", "rm", self.made)


ALL = [Pull, PullFromRegistry, Push, Import, Export, ExportDirectory, Commit, Collect, Remove, Check, Repair, Rebuild,
       Prepare, CommitSnapshot]
