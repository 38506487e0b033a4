"""Asynchronous work for a caller whose thread may have an event loop already, as a kernel's has."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from typing import Any, TypeVar

T = TypeVar("T")

_GLANCE_SECONDS = 0.25


def run_beside(work: Coroutine[Any, Any, T], glance: Callable[[], None] = lambda: None) -> T:
    """Run it on a loop in another thread, and call `glance` in this one four times a second.

    An interrupt of the caller cancels the work, and goes on once the work has ended.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ollmlx-beside")
    thread.start()
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        while not wait([future], timeout=_GLANCE_SECONDS).done:
            glance()
        return future.result()
    finally:
        asyncio.run_coroutine_threadsafe(_end_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_others() -> None:
    """Requests hang up when they are cancelled; the server sees them leave."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
