"""The whole service behind an open door, and a client before it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from ollmlx.api.engine import Models
from ollmlx.room import Room
from ollmlx.settings import Settings


@contextmanager
def served(settings: Settings, models: Models | None = None) -> Iterator[str]:
    """The address of a server with a store, or with these models instead."""
    room = Room(settings, models)
    room.start()
    try:
        yield f"http://127.0.0.1:{room.open_door('127.0.0.1', 0)}"
    finally:
        room.stop()


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Not through a proxy of the machine that the tests run on."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as client:
        yield client


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose store lies there."""
    with served(Settings(models=root, embedded=False)) as url:
        async with talking(url) as client:
            yield client
