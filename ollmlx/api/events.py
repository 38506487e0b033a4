"""One stream of what changes: jobs, installed models, running models, telemetry.

It begins with all there is, so who connects again has missed nothing.  What changes outside of this
server is seen too, a little later.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TypeVar

from msgspec import Struct

from ollmlx.api.answers import Answer, Stream
from ollmlx.api.engine import Engine
from ollmlx.api.loading import residents
from ollmlx.api.models import listed
from ollmlx.api.telemetry import measured
from ollmlx.engine.news import Happening
from ollmlx.wire import live

T = TypeVar("T", bound=Struct)
TICK_SECONDS = 0.5
"""Between two looks when nothing is told: telemetry comes at most this often."""
_LISTING_SECONDS = 3.0
"""Between two looks at the disk, for what other programs change there."""
_STALE_SECONDS = 5.0
_PING_SECONDS = 15.0
_OF_THE_STORE = {
    "model_pulled",
    "model_created",
    "model_copied",
    "model_deleted",
    "job_changed",
}


async def events(engine: Engine, request: live.EventsRequest) -> Answer:
    return Stream(_Watch(engine).frames(), "events" if request.sse else "ndjson")


class _Watch:
    """One client, and what it has been told."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: dict[str, Mapping[str, Struct]] = {}
        self._telemetry: live.Telemetry | None = None
        self._measured_at = self._listed_at = self._told_at = -_PING_SECONDS
        self._changed = asyncio.Event()

    async def frames(self) -> AsyncGenerator[Struct, None]:
        silent_since = time.monotonic()
        stop_listening = self._engine.news.listen(self._hear)
        try:
            while True:
                self._changed.clear()
                async for frame in self._look():
                    silent_since = time.monotonic()
                    yield frame
                if time.monotonic() - silent_since > _PING_SECONDS:
                    silent_since = time.monotonic()
                    yield live.Ping()
                await self._pause()
        finally:
            stop_listening()

    def _hear(self, happening: Happening) -> None:
        if happening.kind in _OF_THE_STORE:
            self._listed_at = -_LISTING_SECONDS
        if happening.kind != "request_finished":  # of those there can be hundreds a second
            self._changed.set()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), TICK_SECONDS)
        except TimeoutError:
            return

    async def _look(self) -> AsyncGenerator[Struct, None]:
        engine, now = self._engine, time.monotonic()
        jobs = {job.id: job.shown() for job in engine.jobs.list()}
        if difference := self._difference("jobs", jobs):
            yield live.JobsChanged(*difference)
        if loaded := self._difference("running", residents(engine)):
            yield live.RunningChanged(*loaded)
        if now - self._listed_at >= _LISTING_SECONDS:
            self._listed_at = now
            models = await asyncio.to_thread(engine.library.list)
            if installed := self._difference("models", {m.name: listed(m) for m in models}):
                yield live.ModelsChanged(*installed)
        if (telemetry := self._news_of_telemetry(now)) is not None:
            yield live.TelemetryChanged(telemetry)

    def _news_of_telemetry(self, now: float) -> live.Telemetry | None:
        if now - self._measured_at < TICK_SECONDS:
            return None
        self._measured_at = now
        telemetry, told = measured(self._engine), self._telemetry
        same = told and (told.models, told.waiting) == (telemetry.models, telemetry.waiting)
        # Free memory never stands still: alone it is news only now and then.
        if same and now - self._told_at < _STALE_SECONDS:
            return None
        self._telemetry, self._told_at = telemetry, now
        return telemetry

    def _difference(
        self, kind: str, now: Mapping[str, T]
    ) -> tuple[bool, list[T], list[str]] | None:
        """Whether it is the first, what is new or another, and the keys of what is gone."""
        first, before = kind not in self._told, self._told.get(kind, {})
        self._told[kind] = now
        changed = [value for key, value in now.items() if before.get(key) != value]
        removed = [key for key in before if key not in now]
        return (first, changed, removed) if first or changed or removed else None
