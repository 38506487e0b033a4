"""Everything that the engine room does, in one module, so that a room can be made without it."""

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from tornado.web import Application

from ollmlx import http
from ollmlx.api.changes import tidy
from ollmlx.api.engine import Engine, Models
from ollmlx.api.managing import adopt
from ollmlx.api.telemetry import Family, families
from ollmlx.engine.pool import Pool
from ollmlx.frames import Frame, Request
from ollmlx.settings import Settings
from ollmlx.store.library import Library


class Service:
    """Lives on the room's event loop; what another thread may call says so."""

    def __init__(self, settings: Settings, library: Models | None) -> None:
        self.engine = Engine(settings, library or Library(settings), Pool(settings))
        self._has_store = library is None

    async def settle(self, take_over: bool) -> None:
        """Tidy the store, and go on with what servers before this one have left."""
        if self._has_store:
            await tidy(self.engine)
            if take_over:
                await adopt(self.engine)

    def exchange(self, request: Request) -> AsyncGenerator[Frame, None]:
        return http.exchange(self.engine, request)

    def door(self, loopback: bool, secret: str) -> Application:
        return http.make_door(self.engine, loopback, secret)

    @property
    def busy(self) -> bool:
        """For any thread."""
        return self.engine.pool.busy or self.engine.jobs.busy

    def metrics(self) -> Iterator[Family]:
        """For any thread."""
        return families(self.engine)

    def listen(self, hear: Callable[[str, str, dict[str, Any]], None]) -> Callable[[], None]:
        return self.engine.news.listen(lambda told: hear(told.kind, told.model, told.facts))

    async def close(self) -> None:
        await self.engine.jobs.close()
        await self.engine.pool.close()

    # For any thread: they only look into the table of routes.
    streams_body = staticmethod(http.streams_body)
    refusal = staticmethod(http.refusal)
