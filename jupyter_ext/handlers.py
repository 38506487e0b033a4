"""Every route below the mount: a request goes to the engine room, its frames come back."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from http.client import responses
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jupyter_server._tz import utcnow
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import HTTPError, stream_request_body

from jupyter_ext import secret
from jupyter_ext.guard import GuardedHandler, Mount
from ollmlx.frames import MAX_UPLOAD, Head, Request, StreamingHandler

_CREDENTIALS = {"authorization", "cookie", "x-api-key", "x-xsrftoken"}
_SMALL_BODY = 1 << 20
_OLLAMA_PATH = re.compile(
    r"/api/(generate|chat|embed|embeddings|tags|ps|show|version|pull|push|create|copy|delete|signout)"
    r"|/api/(chat/completions|tokenize|detokenize|rerank)"
    r"|/api/(blobs|user|experimental|ollmlx)/.*|/v1/.*|/t/.*"
)
_SHARED_PATHS = {("HEAD", "/"), ("POST", "/api/me")}
"""Where Jupyter answers other methods itself; `/api/status` stays wholly Jupyter's."""


@stream_request_body
class MountHandler(StreamingHandler, GuardedHandler):
    """One request; hanging up closes it in the engine room at once, also before the first frame."""

    _refusal: HTTPError | None = None
    _relay: asyncio.Task[None] | None = None
    _send_on: Callable[[bytes | None], Awaitable[None]] | None = None
    _left = False

    async def prepare(self) -> None:  # type: ignore[override]  # as in GuardedHandler
        self._body = bytearray()
        try:
            await super().prepare()
            if self.mount.room.streams_body(self.request.method or "", self.path):
                self._accept_upload()
            else:
                self._accept_body()
        except HTTPError as refusal:
            if self._body_size() > _SMALL_BODY:
                raise
            # A refusal waits for a small body: closing a connection with bytes unread can reset it
            # before the client has seen why.
            self._refusal = refusal

    async def data_received(self, chunk: bytes) -> None:
        if self._send_on is None:
            self._body += chunk
        else:
            await self._send_on(chunk)

    async def answer(self, *args: str) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self._send_on is not None:
            await self._send_on(None)
        self._relay = relay = self._relay or self._begin(self._request())
        try:
            if self._left:
                relay.cancel()
            await asyncio.wait({relay})
        finally:
            relay.cancel()
        if not relay.cancelled():
            relay.result()

    get = head = post = put = patch = delete = answer

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._left = True
        if self._relay is not None:
            self._relay.cancel()

    def compute_etag(self) -> None:
        """Ollama sends none."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = responses.get(status_code, "unknown error").lower()
        if isinstance(error, HTTPError) and error.log_message:
            message = error.log_message % error.args
        self.set_header("Content-Type", "application/json")
        self.finish(self.mount.room.refusal(self._request(), status_code, message))

    def _begin(self, request: Request) -> asyncio.Task[None]:
        return asyncio.create_task(self._write_frames(request))

    async def _write_frames(self, request: Request) -> None:
        self._note_activity()
        async with aclosing(self.mount.room.exchange(request)) as frames:
            async for frame in frames:
                if isinstance(frame, Head):
                    self._write_head(frame)
                else:
                    self.write_piece(frame)
        self._note_activity()

    def _request(self) -> Request:
        headers = {
            name.lower(): value
            for name, value in self.request.headers.items()
            if name.lower() not in _CREDENTIALS
        }
        method, body = self.request.method or "", bytes(self._body)
        return Request(method, self.path, headers, body, query=_without_token(self.request.query))

    def _write_head(self, head: Head) -> None:
        self.set_status(head.status)
        self.clear_header("Content-Type")
        for name, value in head.headers:
            self.set_header(name, self._outside(value) if name.lower() == "location" else value)

    def _outside(self, location: str) -> str:
        """A redirect inside the engine room, as the client has to write it."""
        if not location.startswith("/"):
            return location
        return (
            self.mount.path
            + (secret.prefix(self.mount.secret) if self._by_secret else "")
            + location
        )

    def _accept_body(self) -> None:
        """Jupyter's own limit is for notebooks; ours is its own."""
        limit = self.mount.max_body
        if self._body_size() > limit:
            raise HTTPError(413, f"request body is larger than {limit} bytes")
        self._limit_body(limit)

    def _accept_upload(self) -> None:
        """A model's file goes through in chunks: the room reads while the client sends."""
        self._limit_body(MAX_UPLOAD)
        upload = self.mount.room.body()
        self._send_on = upload.put
        self._relay = self._begin(replace(self._request(), upload=upload))

    def _limit_body(self, size: int) -> None:
        connection: Any = self.request.connection
        connection.set_max_body_size(size)

    def _body_size(self) -> int:
        """Bytes announced; a body of unknown length counts as large."""
        if "Transfer-Encoding" in self.request.headers:
            return _SMALL_BODY + 1
        length = self.request.headers.get("Content-Length", "0")
        return int(length) if length.isdecimal() else 0

    def _note_activity(self) -> None:
        """Tell what culls idle servers; somebody who only looks is not work."""
        if self.action != "read":
            self.settings["ollmlx_last_activity"] = utcnow()


def _without_token(query: str) -> str:
    """Jupyter takes its token there too, and the room has no business with it."""
    return urlencode([(name, value) for name, value in parse_qsl(query) if name != "token"])


class AtRoot(Matcher):
    """Ollama's own paths at Jupyter's root, save what Jupyter answers there itself."""

    def __init__(self, base_url: str) -> None:
        self.base = base_url.rstrip("/")

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        method = request.method or ""
        if method == "OPTIONS":
            method = request.headers.get("Access-Control-Request-Method", method)
        path = request.path.removeprefix(self.base)
        ours = _OLLAMA_PATH.fullmatch(path) is not None or (method, path) in _SHARED_PATHS
        return {} if request.path.startswith(f"{self.base}/") and ours else None


def below_prefix(prefix: str, mount: Mount) -> tuple[str, type[MountHandler], dict[str, Any]]:
    """The one handler for everything below `/<prefix>`, as `ExtensionApp.handlers` wants it."""
    return rf"/{re.escape(prefix)}(/.*)?", MountHandler, {"mount": mount}


def at_root(base_url: str, mount: Mount) -> Rule:
    return Rule(AtRoot(base_url), MountHandler, {"mount": mount, "name": "ollmlx"})
