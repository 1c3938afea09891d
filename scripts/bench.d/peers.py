"""The peers that show an image as a directory: kernel overlayfs and fuse-overlayfs over
extracted layers, and mica over its own store. A peer mounts one image at a time."""
import json
import os
import subprocess
import time


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return any(line.split()[4] == path for line in f)


def unmount(path):
    for _ in range(100):
        if not is_mounted(path):
            return
        if subprocess.run(["umount", path], stderr=subprocess.DEVNULL, check=False).returncode:
            time.sleep(0.1)
    raise RuntimeError(f"cannot unmount {path}")


def memory(pid):
    """Returns (peak resident, anonymous now) of a process in KiB."""
    values = {}
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key in ("VmHWM", "RssAnon"):
                values[key] = int(value.split()[0])
    return values["VmHWM"], values["RssAnon"]


class Kernel:
    """Kernel overlayfs over the extracted layers TREES/<image>/<n>."""
    name = "kernel"
    # What makes a command one of the user who reads through this peer.
    switch = ()

    def __init__(self, trees):
        self.trees = trees

    def lowers(self, image):
        tree = os.path.join(self.trees, image)
        numbers = sorted((int(n) for n in os.listdir(tree) if n.isdigit()), reverse=True)
        if len(numbers) == 1:
            # overlayfs wants two layers where there is no upper
            os.makedirs(os.path.join(tree, "empty"), exist_ok=True)
            return tree, f"{numbers[0]}:empty"
        return tree, ":".join(map(str, numbers))

    def mount(self, image, at):
        tree, lower = self.lowers(image)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", "ro,lowerdir=" + lower, at], cwd=tree, check=True)

    def server(self, _at):
        return None

    def unmount(self, at):
        unmount(at)


class FuseOverlayfs(Kernel):
    """fuse-overlayfs over the same extracted layers, in the foreground."""
    name = "fuse-overlayfs"
    process = None

    def mount(self, image, at):
        tree, lower = self.lowers(image)
        self.process = subprocess.Popen(["fuse-overlayfs", "-f", "-o", "ro,lowerdir=" + lower, at], cwd=tree)
        while not is_mounted(at):
            if self.process.poll() is not None:
                raise RuntimeError("fuse-overlayfs did not start")
            time.sleep(0.0005)

    def server(self, _at):
        return self.process.pid

    def unmount(self, at):
        unmount(at)
        self.process.wait(30)


class Mica:
    """mica over packed layers, pulled beforehand into one store as bench/<image>; by one way to
    the kernel if one is named."""
    switch = ()

    def __init__(self, program, store, reference, transport=None):
        self.name = f"mica-{transport}" if transport else "mica"
        self.command = [program, "--root", store]
        self.reference = reference
        self.transport = ["--transport", transport] if transport else []

    def mount(self, image, at):
        subprocess.run([*self.switch, *self.command, "mount", *self.transport, self.reference(image), at], check=True)

    def server(self, at):
        """Returns the process that serves the mount, as `mica mounts --json` tells."""
        out = subprocess.run([*self.switch, *self.command, "mounts", "--json"], check=True, stdout=subprocess.PIPE).stdout.decode()
        try:
            records = json.loads(out)
        except json.JSONDecodeError:
            records = [json.loads(line) for line in out.splitlines()]
        for record in records if isinstance(records, list) else records.get("mounts", [records]):
            if at in record.values():
                return record.get("pid")
        return None

    def unmount(self, at):
        subprocess.run([*self.switch, *self.command, "umount", at], check=True)


class MicaOfUser(Mica):
    """The same for an ordinary user, who mounts through fusermount3 and reads."""
    switch = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
              "env", "AS_ROOT=unshare --user --map-root-user")

    def __init__(self, program, store, reference):
        super().__init__(program, store, reference)
        self.name = "mica-user"
