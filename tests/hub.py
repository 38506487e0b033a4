"""A hub on loopback that answers what huggingface_hub asks of the real one.

Source: https://huggingface.co/docs/hub/api, and the headers that the client reads.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tornado import web

from tests.looping import running

COMMIT = "c0ffee" + "0" * 34
CHANGED = "2026-01-02T03:04:05.000Z"
LARGE = 1000
"""Bytes from which this hub keeps a file out of git, as the real one does by its name."""


@dataclass
class Repository:
    files: dict[str, bytes]
    token: str = ""
    """Who may read it; empty for everybody."""
    gated: bool = False
    commit: str = COMMIT
    lies: dict[str, str] = field(default_factory=dict)
    """Hashes that are not those of the files."""

    def sha256(self, path: str) -> str:
        return self.lies.get(path) or hashlib.sha256(self.files[path]).hexdigest()


class FakeHub:
    """What is on it, and what was asked of it."""

    def __init__(self) -> None:
        self.url = ""
        self.repositories: dict[str, Repository] = {}
        self.sent: Counter[str] = Counter()
        """Bytes of bodies, by file."""
        self.cut_after = 0
        """Bytes after which a body of a large file breaks off, when not zero."""


class _Handler(web.RequestHandler):
    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    def initialize(self, hub: FakeHub) -> None:
        self.hub, self.code = hub, ""

    def compute_etag(self) -> None:
        """None: the hub's own are given."""

    def repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if found is None or (found.token and not found.gated and token != found.token):
            self.code = "RepoNotFound"
            raise web.HTTPError(401 if found else 404)
        if found.gated and token != found.token:
            self.code = "GatedRepo"
            raise web.HTTPError(403)
        return found

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.set_header("X-Error-Code", self.code)
        self.finish()

    def revision(self, found: Repository, revision: str) -> None:
        if revision not in ("main", found.commit):
            self.code = "RevisionNotFound"
            raise web.HTTPError(404)


class _Info(_Handler):
    def get(self, name: str, revision: str | None = None) -> None:
        found = self.repository(name)
        self.revision(found, revision or "main")
        siblings = []
        for path, content in found.files.items():
            sibling: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": "b" * 40}
            if len(content) >= LARGE:
                sibling["lfs"] = {
                    "sha256": found.sha256(path),
                    "size": len(content),
                    "pointerSize": 130,
                }
            siblings.append(sibling)
        self.finish({"id": name, "modelId": name, "sha": found.commit, "siblings": siblings})


class _Search(_Handler):
    def get(self) -> None:
        words, form = self.get_argument("search").lower(), self.get_argument("filter")
        suffix = ".gguf" if form == "gguf" else ".safetensors"
        found = [
            {"id": name, "downloads": len(name), "likes": 2, "lastModified": CHANGED}
            for name, repository in self.hub.repositories.items()
            if words in name.lower() and any(path.endswith(suffix) for path in repository.files)
        ]
        self.finish(json.dumps(found[: int(self.get_argument("limit"))]))


class _File(_Handler):
    def head(self, name: str, revision: str, path: str) -> None:
        self._describe(name, revision, path)
        self.finish()

    def get(self, name: str, revision: str, path: str) -> None:
        content = self._describe(name, revision, path)
        if len(content) < LARGE:
            self.finish(content)
            return
        # Another host, as the real one's storage is.
        other = self.request.full_url().replace("127.0.0.1", "localhost")
        self.redirect(other.replace("/resolve/", "/storage/").replace(f"/{revision}/", "/x/"))

    def _describe(self, name: str, revision: str, path: str) -> bytes:
        found = self.repository(name)
        self.revision(found, revision)
        if path not in found.files:
            self.code = "EntryNotFound"
            raise web.HTTPError(404)
        content = found.files[path]
        large = len(content) >= LARGE
        etag = found.sha256(path) if large else hashlib.sha1(content).hexdigest()
        self.set_header("X-Repo-Commit", found.commit)
        self.set_header("X-Linked-Etag" if large else "ETag", f'"{etag}"')
        self.set_header("X-Linked-Size" if large else "Content-Length", str(len(content)))
        return content


class _Storage(_Handler):
    async def get(self, name: str, path: str) -> None:
        assert "Authorization" not in self.request.headers, "the token went to another host"
        content = self.hub.repositories[name].files[path]
        first, _, last = self.request.headers["Range"].removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) + 1
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.set_header("Content-Length", str(end - start))
        part = content[start:end]
        if self.hub.cut_after and len(part) > self.hub.cut_after:
            self.write(part[: self.hub.cut_after])
            self.hub.sent[path] += self.hub.cut_after
            await self.flush()
            self.request.connection.stream.close()  # type: ignore[union-attr]  # it is HTTP/1
            return
        self.hub.sent[path] += len(part)
        self.finish(part)


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Run one until the block ends."""
    hub = FakeHub()
    arguments = {"hub": hub}
    app = web.Application(
        [
            (r"/api/models", _Search, arguments),
            (r"/api/models/([^/]+/[^/]+)", _Info, arguments),
            (r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", _Info, arguments),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _File, arguments),
            (r"/([^/]+/[^/]+)/storage/x/(.+)", _Storage, arguments),
        ],
        log_function=lambda handler: None,
    )
    with running(app) as port:
        hub.url = f"http://127.0.0.1:{port}"
        yield hub
