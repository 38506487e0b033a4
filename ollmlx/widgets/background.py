"""An event loop in a thread of its own: what widgets wait for.

Callbacks of all widgets share one thread of the kernel; one that waited would keep the others, its
own Stop button among them, from being heard.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """Starts with the first work, and ends with the process or with `close`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    def run(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        """Begin work; what it raises is logged.  Cancel the future to end it.  Any thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        future.add_done_callback(_tell)
        return future

    def close(self) -> None:
        """End all work; once more is fine."""
        with self._starting:
            if self._loop:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                name = "ollmlx widget"
                threading.Thread(target=_work, args=(self._loop,), name=name, daemon=True).start()
            return self._loop


def _work(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(_end_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _tell(future: "Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()):
        log.error("a widget's work failed", exc_info=error)
