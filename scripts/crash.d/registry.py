"""A registry in memory, as much as a pull and a push ask for; on a free port of 127.0.0.1."""
import hashlib
import http.server
import re
import sys
import threading
import urllib.parse
import uuid

PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|blobs/uploads)/(?P<rest>[^/]*)$")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # of one that was killed
            super().handle_error(request, client_address)


class Registry:
    def __init__(self):
        self.blobs, self.manifests, self.uploads = {}, {}, {}
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def __getattr__(self, method):
                if method.startswith("do_"):
                    return lambda: registry.answer(self)
                raise AttributeError(method)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        if len(body) == length:
            self.reply(request, body)

    def reply(self, request, body):
        url = urllib.parse.urlsplit(request.path)
        asked = PATH.match(url.path)
        if not asked:
            return send(request, 200, b"{}")
        name, kind, rest = asked.group("name", "kind", "rest")
        if request.command in ("GET", "HEAD"):
            found = self.manifests.get((name, rest)) if kind == "manifests" else self.blobs.get((name, rest))
            if found is None:
                return send(request, 404, b"{}")
            media_type, data = found
            return send(request, 200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)})
        if kind == "manifests":
            media_type = request.headers["Content-Type"]
            self.manifests[name, rest] = self.manifests[name, digest_of(body)] = (media_type, body)
            return send(request, 201, b"", {"Docker-Content-Digest": digest_of(body), "Location": request.path})
        if request.command == "POST":
            place = f"/v2/{name}/blobs/uploads/{uuid.uuid4()}"
            self.uploads[place] = b""
            return send(request, 202, b"", {"Location": place, "Range": "0-0"})
        data = self.uploads[url.path] = self.uploads[url.path] + body
        if request.command == "PATCH":
            return send(request, 202, b"", {"Location": url.path, "Range": f"0-{len(data) - 1}"})
        (digest,) = urllib.parse.parse_qs(url.query)["digest"]
        if digest_of(data) != digest:
            return send(request, 400, b"{}")
        self.blobs[name, digest] = ("application/octet-stream", self.uploads.pop(url.path))
        return send(request, 201, b"", {"Docker-Content-Digest": digest, "Location": f"/v2/{name}/blobs/{digest}"})


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def send(request, status, body, headers=()):
    request.send_response(status)
    for name, value in dict(headers).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
