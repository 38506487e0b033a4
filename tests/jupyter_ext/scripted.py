"""The extension around a room that follows a script: what handlers owe, whatever a room answers."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from jupyter_ext.app import OllmlxApp
from ollmlx.frames import Body, Head, Request
from ollmlx.service import Service
from ollmlx.settings import Settings

NDJSON = [("Content-Type", "application/x-ndjson")]


class ScriptedRoom:
    """Says back what it was asked; `/hang` never answers, `/stream` waits for `go_on` midway."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.began, self.ended, self.go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.is_busy = False
        self.uploaded = 0

    streams_body = staticmethod(Service.streams_body)
    refusal = staticmethod(Service.refusal)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def metrics(self) -> list[Any]:
        return []

    def listen(self, hear: Any) -> Any:
        return lambda: None

    def busy(self) -> bool:
        return self.is_busy

    def body(self) -> Body:
        return Body(asyncio.get_running_loop())

    async def exchange(self, request: Request) -> AsyncGenerator[Head | bytes, None]:
        self.asked.append(request)
        self.began.set()
        try:
            async for frame in self._answer(request):
                yield frame
        finally:
            self.ended.set()

    async def _answer(self, request: Request) -> AsyncGenerator[Head | bytes, None]:
        if request.path == "/hang":
            await asyncio.Event().wait()
        if request.path == "/moved/":
            yield Head(301, [("Location", "/moved")])
            return
        if request.path == "/stream":
            yield Head(200, NDJSON)
            yield b"1\n"
            await self.go_on.wait()
            yield b"2\n"
            return
        if request.upload is not None:
            sizes = [len(chunk) async for chunk in request.upload.chunks()]
            yield Head(201, [])
            self.uploaded = sum(sizes)
            return
        said = {"method": request.method, "path": request.path, "headers": dict(request.headers)}
        yield Head(200, [("Content-Type", "application/json; charset=utf-8")])
        if request.method != "HEAD":
            yield json.dumps(said | {"body": request.body.decode()}).encode()


class ScriptedApp(OllmlxApp):
    def make_room(self, settings: Settings) -> Any:
        return ScriptedRoom()


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": __name__, "app": ScriptedApp}]
