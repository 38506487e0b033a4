"""A request as it is handed to the engine room, and the frames that answer it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from tornado import web

LINES = "application/x-ndjson"
EVENTS = "text/event-stream"
MAX_BODY = 1 << 30
"""Bytes of a request: a long conversation with its pictures."""
MAX_UPLOAD = 1 << 42
"""Bytes of a file that a client uploads: any model."""
_MOST_WAITING = 4
"""Chunks of a body that may wait to be read; then the sender waits."""


class Body:
    """A request's body on its way, a few chunks at a time, to the event loop it was made for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue = asyncio.Queue[bytes | None](_MOST_WAITING)
        self._closed = False

    async def put(self, chunk: bytes | None) -> None:
        """Hand over a chunk, None after the last.  When nobody reads any more it is dropped."""
        if asyncio.get_running_loop() is self._loop:
            await self._put(chunk)
        else:
            await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(self._put(chunk), self._loop)
            )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk

    def close(self) -> None:
        """Nobody will read on; senders that wait are let go."""
        self._closed = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def _put(self, chunk: bytes | None) -> None:
        if not self._closed:
            await self._queue.put(chunk)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """Below the mount, starting with `/`, without a query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""
    upload: Body | None = None
    """The body of a route that reads it itself."""
    query: str = ""


@dataclass(frozen=True)
class Head:
    status: int
    headers: list[tuple[str, str]]


Frame = Head | bytes


class StreamingHandler(web.RequestHandler):
    """Writes an answer as it comes; pieces that come at once leave together."""

    _leaving = _ends_with_close = False

    def write_piece(self, piece: bytes) -> None:
        self.write(piece)
        streams = self._headers.get("Content-Type") in (LINES, EVENTS)
        # A whole answer is left to the end, where its length is known.
        if streams and not self._leaving:
            self._leaving = True
            if self.request.version == "HTTP/1.0":
                # No chunks, no length: nothing but the connection's end is the end of the answer,
                # and tornado would keep it for a client that asks for that.
                self.request.headers["Connection"] = "close"
                self.set_header("Connection", "close")
                self._ends_with_close = True
            asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        self._leaving = False
        if not self._finished:
            self.flush()

    def finish(self, chunk: Any = None) -> "asyncio.Future[None]":
        sent = super().finish(chunk)
        if self._ends_with_close:
            connection: Any = self.request.connection
            sent.add_done_callback(lambda _: connection.close())
        return sent
