"""A request as it is handed to the engine room, and the frames that answer it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from tornado import web

from ollmlx.body import Body

LINES = "application/x-ndjson"
EVENTS = "text/event-stream"
MAX_BODY = 1 << 30
"""Bytes of a request: a long conversation with its pictures."""
MAX_UPLOAD = 1 << 42
"""Bytes of a file that a client uploads: any model."""


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

    _leaving = False

    def write_piece(self, piece: bytes) -> None:
        self.write(piece)
        streams = self._headers.get("Content-Type") in (LINES, EVENTS)
        # A whole answer is left to the end, where its length is known.
        if streams and not self._leaving:
            self._leaving = True
            asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        self._leaving = False
        if not self._finished:
            self.flush()
