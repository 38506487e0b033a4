"""A registry on loopback that lies, stalls, cuts and refuses as it is told to."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ollmlx.store.ollama.layers import CONFIG_TYPE, MANIFEST_TYPE, PREFIX

Behaviour = Callable[["Handler", bytes], None]
_CHUNK = 1 << 16


class Misbehaving:
    """Blobs and manifests by path; `behave` answers for blobs until it is changed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.behave: Behaviour = Handler.send_range
        self.present: Behaviour = Handler.whole
        """Answers for manifests."""
        self.refusals: list[int] = []
        """What the next requests that are no GET are answered with."""
        self.seconds_per_mib = 0.0
        self.sent = 0
        """Bytes of blobs that were written to sockets."""
        self.token = ""
        """What a request must bring to be answered, when not empty."""
        self.granted = ""
        """What is given to who asks for a token, when not the right one."""
        self.challenge = ""
        self.signed: list[tuple[str, str]] = []
        """Address and `Authorization` of every request for a token."""
        self.storage = ""
        """Where chunks of uploads are sent on to."""
        self.received: list[tuple[str, str, str | None, bytes]] = []
        """Method, address, `Authorization` and body of what was not a GET."""
        self.left = 0
        """Clients that did not wait for the end of a body."""
        self.asked: list[str] = []
        """The `Range` of every request for a blob."""

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def add_blob(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest

    def add(self, repository: str, tag: str, config: dict[str, Any], **layers: bytes) -> None:
        def described(kind: str, content: bytes) -> dict[str, Any]:
            return {"mediaType": kind, "digest": self.add_blob(content), "size": len(content)}

        self.manifests[f"/v2/{repository}/manifests/{tag}"] = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": described(CONFIG_TYPE, json.dumps(config).encode()),
                "layers": [described(PREFIX + kind, c) for kind, c in layers.items()],
            }
        ).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Misbehaving

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:  # the name http.server wants
        path, registry = self.path.partition("?")[0], self.registry
        if path == "/token":
            registry.signed.append((self.path, self.headers["Authorization"]))
            self.whole(json.dumps({"token": registry.granted or registry.token}).encode())
        elif registry.token and self.headers["Authorization"] != f"Bearer {registry.token}":
            self.refuse(401, WWW_Authenticate=registry.challenge)
        elif path in self.registry.manifests:
            self.registry.present(self, self.registry.manifests[path])
        elif (digest := path.rpartition("/")[2]) in self.registry.blobs:
            self.registry.asked.append(self.headers.get("Range", ""))
            self.registry.behave(self, self.registry.blobs[digest])
        else:
            self.refuse(404, "not found")

    def do_HEAD(self) -> None:  # as above
        self.refuse(404)

    def _receive(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        registry, who = self.registry, self.headers["Authorization"]
        if registry.token and who != f"Bearer {registry.token}":
            self.refuse(401, WWW_Authenticate=registry.challenge)
            return
        registry.received.append((self.command, self.path, who, body))
        if registry.refusals:
            self.refuse(registry.refusals.pop(0), "not now")
            return
        if self.command == "PATCH":
            self.refuse(307, Location=registry.storage, Docker_Upload_Location="/upload/2")
        else:
            self.refuse(202 if self.command == "POST" else 201, Location="/upload/1")

    do_POST = do_PATCH = do_PUT = _receive  # noqa: N815  # as above

    def span(self, content: bytes) -> tuple[int, int]:
        """First byte and the one after the last that are asked for."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(match[1]), int(match[2]) + 1) if match else (0, len(content))

    def send_range(self, content: bytes, upto: int | None = None, total: int | None = None) -> None:
        """What is asked for; only `upto` bytes of it; as if the file had `total`."""
        start, end = self.span(content)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{total or len(content)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.body(content[start : end if upto is None else min(end, start + upto)])
        if upto is not None and start + upto < end:
            self.close_connection = True

    def whole(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.body(content)

    def cut(self, content: bytes) -> None:
        """Half of what is announced."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.body(content[: len(content) // 2])
        self.close_connection = True

    def refuse(self, code: int, text: str = "", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text.encode())

    def body(self, content: bytes) -> None:
        try:
            for at in range(0, len(content), _CHUNK):
                part = content[at : at + _CHUNK]
                self.wfile.write(part)
                self.registry.sent += len(part)
                if self.registry.seconds_per_mib:
                    time.sleep(self.registry.seconds_per_mib * len(part) / (1 << 20))
        except OSError:
            self.close_connection = True
            self.registry.left += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is what these tests are about."""


@contextmanager
def misbehaving() -> Iterator[Misbehaving]:
    class Own(Handler):
        """A class of its own, since http.server makes an object for each connection."""

    with _Server(("127.0.0.1", 0), Own) as server:
        Own.registry = Misbehaving(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Own.registry
        finally:
            server.shutdown()
            thread.join()
