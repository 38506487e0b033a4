"""Asynchronous work for a caller whose thread may have an event loop already, as a kernel's has."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_GLANCE_SECONDS = 0.25


def run_beside(work: Coroutine[Any, Any, T], glance: Callable[[], None] = lambda: None) -> T:
    """Run it on a loop in another thread, and call `glance` in this one four times a second.

    An interrupt of the caller cancels the work, and goes on once the work has ended; another one
    goes on at once.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def task() -> T:
        current = asyncio.current_task()
        assert current
        begun.set_result((asyncio.get_running_loop(), current))
        return await work

    thread = ThreadPoolExecutor(1, "ollmlx-beside")
    ended = thread.submit(asyncio.run, task())
    thread.shutdown(wait=False)  # it ends with this
    try:
        # Never without an end: polars has signals restart what waits, and none would be noticed.
        while not wait([ended], _GLANCE_SECONDS).done:
            glance()
        return ended.result()
    finally:
        loop, current = begun.result()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(current.cancel)
        while not wait([ended], _GLANCE_SECONDS).done:
            pass
