"""Far ends that no echo model can be: scripted answers of /api/pull and its kin, line by line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.web import Application, RequestHandler

from tests.looping import running


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
    """Run one until the block ends."""
    scripted = FarEnd()
    with running(Application([("/(.*)", _Handler, {"far_end": scripted})])) as port:
        scripted.address = f"127.0.0.1:{port}"
        yield scripted
