"""A server that answers Ollama's API from a script: the far end for tests of what talks to one."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

WHEN = "2026-01-01T00:00:00Z"


@dataclass
class StandIn:
    """What it says, and what it was asked."""

    url: str = ""
    token: str = ""
    words: list[str] = field(default_factory=lambda: ["Good", " day", "!"])
    endless: bool = False
    """Whether an answer goes on until the client leaves."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client left before its answer ended."""


class _Alive(RequestHandler):
    """What the command asks before anything else."""

    def head(self) -> None:
        self.finish()


class _Handler(RequestHandler):
    def initialize(self, stand_in: StandIn) -> None:
        self.far_end = stand_in

    def prepare(self) -> None:
        token = self.far_end.token
        if token and self.request.headers.get("Authorization") != f"Bearer {token}":
            self.set_status(403)
            self.finish({"error": "forbidden"})

    def get(self, what: str) -> None:
        model = {"name": "m:1b", "model": "m:1b", "size": 2_000_000, "details": {"format": "gguf"}}
        loaded = {**model, "expires_at": "2400-01-01T00:00:00Z", "context_length": 4096}
        self.finish(
            {
                "version": {"version": "0.0.0"},
                "tags": {"models": [model]},
                "ps": {"models": [loaded]},
            }[what]
        )

    async def post(self, what: str) -> None:
        request = json.loads(self.request.body)
        self.far_end.asked.append({"path": what, **request})
        if request["model"] == "missing":
            self.set_status(404)
            self.finish({"error": "model 'missing' not found"})
        elif what == "chat":
            await self._chat(request["model"])
        elif what == "show":
            self.finish({"model_info": {}})
        else:
            self.finish(
                {"model": request["model"], "created_at": WHEN, "response": "", "done": True}
            )

    async def _chat(self, model: str) -> None:
        try:
            for word in self.far_end.words:
                await self._line(model, word)
            while self.far_end.endless:
                await self._line(model, " on")
                await asyncio.sleep(0.01)  # the pace of a model, not a wait for anything
            counts = {"eval_count": 3, "eval_duration": 1_500_000_000}
            await self._line(model, "", done=True, done_reason="stop", **counts)
        except StreamClosedError:
            self.far_end.left.set()

    async def _line(self, model: str, text: str, done: bool = False, **rest: Any) -> None:
        message = {"role": "assistant", "content": text}
        line = {"model": model, "created_at": WHEN, "message": message, "done": done, **rest}
        self.write(json.dumps(line) + "\n")
        await self.flush()


@contextmanager
def standing_in(prefix: str = "", token: str = "") -> Iterator[StandIn]:
    """Run one on a free port, in a thread with a loop of its own, until the block ends."""
    stand_in = StandIn(token=token)
    socket, port = bind_unused_port()
    stand_in.url = f"http://127.0.0.1:{port}{prefix}"
    loop = asyncio.new_event_loop()

    async def serve(stop: asyncio.Event) -> None:
        routes = [
            (f"{prefix}/", _Alive),
            (f"{prefix}/api/(.*)", _Handler, {"stand_in": stand_in}),
        ]
        server = HTTPServer(Application(routes))
        server.add_socket(socket)
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(stop)))
    thread.start()
    try:
        yield stand_in
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
