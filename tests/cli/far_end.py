"""Far ends that no echo model can be: scripted answers of /api/pull and its kin, line by line."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler


@dataclass
class FarEnd:
    """What it answers at a path, and what it was asked."""

    address: str = ""
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)


class _Handler(RequestHandler):
    def initialize(self, far_end: FarEnd) -> None:
        self.far_end = far_end

    def head(self, path: str) -> None:
        self.set_status(self.far_end.statuses.get(path, 200))
        self.finish()

    def get(self, path: str) -> None:
        self._answer(path)

    def post(self, path: str) -> None:
        self.far_end.asked.append({"path": path, **json.loads(self.request.body or "{}")})
        self._answer(path)

    delete = post

    def _answer(self, path: str) -> None:
        if path not in self.far_end.answers:
            self.set_status(404)
            self.finish("404 page not found")
            return
        self.set_status(self.far_end.statuses.get(path, 200))
        self.finish("".join(json.dumps(line) + "\n" for line in self.far_end.answers[path]))


@contextmanager
def far_end() -> Iterator[FarEnd]:
    """Run one on a free port, in a thread with a loop of its own, until the block ends."""
    scripted, (socket, port) = FarEnd(), bind_unused_port()
    scripted.address = f"127.0.0.1:{port}"
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = HTTPServer(Application([("/(.*)", _Handler, {"far_end": scripted})]))
        server.add_socket(socket)
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield scripted
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
