"""OCI image layouts: read the layers of one, write a new one.

Written for tests and benchmarks: independent of the product's own code, standard
library only, deterministic output. Layers are listed lowest first, as in a manifest.
"""
import gzip
import hashlib
import json
import os
import subprocess

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EPOCH = "2024-01-01T00:00:00Z"


def blob_path(layout, digest):
    return os.path.join(layout, "blobs", *digest.split(":", 1))


def read_json(layout, digest):
    with open(blob_path(layout, digest), "rb") as f:
        return json.load(f)


def manifest_of(layout, architecture="amd64"):
    """Returns the manifest of a layout's first image, looked up through one index."""
    with open(os.path.join(layout, "index.json"), "rb") as f:
        digest = json.load(f)["manifests"][0]["digest"]
    manifest = read_json(layout, digest)
    if "manifests" in manifest:
        fitting = [m for m in manifest["manifests"]
                   if m.get("platform", {}).get("architecture") == architecture]
        manifest = read_json(layout, fitting[0]["digest"])
    return manifest


def open_blob(path):
    """Opens a layer blob for reading as a plain tar, whatever its compression."""
    with open(path, "rb") as f:
        magic = f.read(4)
    if magic[:2] == b"\x1f\x8b":
        command = ["gzip", "-dc"]
    elif magic == b"\x28\xb5\x2f\xfd" or magic[1:] == b"\x2a\x4d\x18":
        command = ["zstd", "-dcq"]
    else:
        return open(path, "rb")
    with open(path, "rb") as f:
        return subprocess.Popen(command, stdin=f, stdout=subprocess.PIPE).stdout


class Writer:
    """Writes one image as an OCI layout: add layers from the base upwards, then finish."""

    def __init__(self, directory, base=None):
        self.directory = directory
        self.layers, self.diff_ids = [], []
        os.makedirs(os.path.join(directory, "blobs/sha256"))
        if base:
            self._take(base)

    def _take(self, base):
        manifest = manifest_of(base)
        for layer in manifest["layers"]:
            os.link(blob_path(base, layer["digest"]), blob_path(self.directory, layer["digest"]))
            self.layers.append(layer)
        self.diff_ids += read_json(base, manifest["config"]["digest"])["rootfs"]["diff_ids"]

    def add_layer(self, tar, compress=True):
        """Adds the tar archive at path `tar` as the new top layer."""
        part = os.path.join(self.directory, "part")
        plain, packed = hashlib.sha256(), hashlib.sha256()
        with open(tar, "rb") as source, open(part, "wb") as out:
            sink = gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=6, mtime=0) if compress else out
            while chunk := source.read(1 << 20):
                plain.update(chunk)
                sink.write(chunk)
            if compress:
                sink.close()
        with open(part, "rb") as f:
            while chunk := f.read(1 << 20):
                packed.update(chunk)
        digest = "sha256:" + packed.hexdigest()
        self.layers.append({"mediaType": LAYER + ("+gzip" if compress else ""),
                            "digest": digest, "size": os.path.getsize(part)})
        self.diff_ids.append("sha256:" + plain.hexdigest())
        os.rename(part, blob_path(self.directory, digest))

    def _blob(self, media_type, value):
        data = json.dumps(value, separators=(",", ":")).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(blob_path(self.directory, digest), "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def finish(self, tag="latest", command=("/bin/sh",)):
        """Writes config, manifest and index; the layout is complete afterwards."""
        config = self._blob(CONFIG, {
            "created": EPOCH, "architecture": "amd64", "os": "linux",
            "config": {"Cmd": list(command), "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids}})
        manifest = self._blob(MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST,
                                         "config": config, "layers": self.layers})
        manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
        for name, value in (("index.json", {"schemaVersion": 2, "manifests": [manifest]}),
                            ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
            with open(os.path.join(self.directory, name), "w", encoding="utf-8") as f:
                json.dump(value, f)
