"""A request's body on its way from one event loop to another, a few chunks at a time."""

import asyncio
from collections.abc import AsyncGenerator

MOST_WAITING = 4
"""Chunks that may wait to be read; then the sender waits."""


class Body:
    """Read on the loop it was made for, written from any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue = asyncio.Queue[bytes | None](MOST_WAITING)
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
