"""Small images as OCI layouts, the same at every run."""
import gzip
import hashlib
import io
import json
import os
import platform
import random
import tarfile


def make(path, layers):
    """Makes an image of the layers of these numbers; returns the digest of its manifest."""
    os.makedirs(os.path.join(path, "blobs/sha256"))

    def blob(media_type, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(path, "blobs/sha256", digest), "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    descriptors, diff_ids = [], []
    for layer in layers:
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as archive:
            info = tarfile.TarInfo("file-%d" % layer)
            data = random.Random(layer).randbytes(1_500_000)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        diff_ids.append("sha256:" + hashlib.sha256(plain.getvalue()).hexdigest())
        media_type = "application/vnd.oci.image.layer.v1.tar+gzip"
        descriptors.append(blob(media_type, gzip.compress(plain.getvalue(), 1, mtime=0)))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = {"os": "linux", "architecture": machine, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = blob("application/vnd.oci.image.config.v1+json", json.dumps(config).encode())
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors}
    manifest = blob(media_type, json.dumps(manifest).encode())
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                        ("index.json", {"schemaVersion": 2, "manifests": [manifest]})):
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
    return manifest["digest"]


def is_whole(path):
    """Says whether all that the index of a layout refers to is there."""
    def read(descriptor):
        with open(os.path.join(path, "blobs", descriptor["digest"].replace(":", "/")), "rb") as file:
            data = file.read()
        return data if "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"] else None

    with open(os.path.join(path, "index.json"), encoding="utf-8") as file:
        manifests = json.load(file)["manifests"]
    try:
        for descriptor in manifests:
            manifest = json.loads(read(descriptor))
            if None in [read(part) for part in [manifest["config"], *manifest["layers"]]]:
                return False
    except FileNotFoundError:
        return False
    return bool(manifests)
