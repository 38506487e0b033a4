"""A server that answers Ollama's API from a script: the far end for tests of what talks to one."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from tests.looping import running

WHEN = "2026-01-01T00:00:00Z"


@dataclass
class StandIn:
    """What it says, and what it was asked."""

    url: str = ""
    token: str = ""
    words: list[str] = field(default_factory=lambda: ["Good", " day", "!"])
    endless: bool = False
    """Whether an answer goes on until the client leaves."""
    script: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Makes the message that answers a chat; one with an `error` and a `status` is a refusal."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    """Of every model; a server that is old tells of none."""
    places: int = 0
    """Answers at once that it tells of, as our servers do; at 0 it does not know that question."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client left before its answer ended."""
    at_once: int = 0
    most_at_once: int = 0
    """Chats that were answered together."""
    awaited: int = 0
    """The first chats wait until so many are under way."""
    full: asyncio.Event = field(default_factory=asyncio.Event)


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
        details = {"format": "safetensors"}
        model = {"name": "m:1b", "model": "m:1b", "size": 2_000_000, "details": details}
        loaded = {**model, "expires_at": "2400-01-01T00:00:00Z", "context_length": 4096}
        if what == "ollmlx/running" and not self.far_end.places:
            self.send_error(404)
            return
        self.finish(
            {
                "ollmlx/running": {
                    "models": [{"name": "m:latest", "parallel": self.far_end.places}]
                },
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
        elif what == "chat" and not request["messages"]:
            message = {"role": "assistant", "content": ""}
            self.finish({"model": request["model"], "message": message, "done_reason": "load"})
        elif what == "chat" and (self.far_end.script or request.get("stream") is False):
            await self._scripted(request)
        elif what == "chat" or request.get("prompt"):
            await self._write(request["model"], what)
        elif what in ("pull", "create"):
            self._pull()
        elif what == "embed":
            self.finish({"model": "m", "embeddings": [[len(t), 1.0] for t in request["input"]]})
        elif what == "show":
            self.finish({"model_info": {}, "capabilities": self.far_end.capabilities})
        else:
            self.finish(
                {"model": request["model"], "created_at": WHEN, "response": "", "done": True}
            )

    def delete(self, what: str) -> None:
        self.far_end.asked.append({"path": what, **json.loads(self.request.body)})
        self.finish({})

    async def _scripted(self, request: dict[str, Any]) -> None:
        far_end = self.far_end
        far_end.at_once += 1
        far_end.most_at_once = max(far_end.most_at_once, far_end.at_once)
        await asyncio.sleep(0)  # lets the others in
        if far_end.at_once >= far_end.awaited:
            far_end.full.set()
        await far_end.full.wait()
        answer = {"role": "assistant", "content": "".join(far_end.words)}
        if far_end.script:
            answer |= far_end.script(request)
        far_end.at_once -= 1
        self.set_status(answer.pop("status", 200))
        if "error" in answer:
            self.finish({"error": answer["error"]})
            return
        end = {"done": True, "done_reason": answer.pop("done_reason", "stop"), "eval_count": 3}
        document = {"model": request["model"], "created_at": WHEN, "message": answer, **end}
        self.finish(json.dumps(document) + "\n")

    def _pull(self) -> None:
        layer = {"status": "pulling abc", "digest": "sha256:abc", "total": 4_000_000}
        for line in ({"status": "pulling manifest"}, {**layer, "completed": 1_000_000}, layer):
            self.write(json.dumps(line) + "\n")
        self.finish(json.dumps({"status": "success"}) + "\n")

    async def _write(self, model: str, what: str) -> None:
        try:
            for word in self.far_end.words:
                await self._line(model, what, word)
            while self.far_end.endless:
                await self._line(model, what, " on")
                await asyncio.sleep(0.01)  # the pace of a model, not a wait for anything
            counts = {"eval_count": 3, "eval_duration": 1_500_000_000}
            await self._line(model, what, "", done=True, done_reason="stop", **counts)
        except StreamClosedError:
            self.far_end.left.set()

    async def _line(
        self, model: str, what: str, text: str, done: bool = False, **rest: Any
    ) -> None:
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
        if what == "generate":
            said = {"response": text}
        line = {"model": model, "created_at": WHEN, **said, "done": done, **rest}
        self.write(json.dumps(line) + "\n")
        await self.flush()


@contextmanager
def standing_in(prefix: str = "", token: str = "") -> Iterator[StandIn]:
    """Run one until the block ends."""
    stand_in = StandIn(token=token)
    handled = (f"{prefix}/api/(.*)", _Handler, {"stand_in": stand_in})
    with running(Application([(f"{prefix}/", _Alive), handled])) as port:
        stand_in.url = f"http://127.0.0.1:{port}{prefix}"
        yield stand_in
