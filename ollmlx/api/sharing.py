"""Long pieces of work that requests share: who asks for one that is under way joins it, and it ends
early when the last of them leaves.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

INTERVAL_SECONDS = 0.06
"""Between two looks at how far it is: Ollama's."""
_MOST = 64


class Work(Protocol):
    """What can be done in a thread, watched from outside, and ended."""

    @property
    def total(self) -> int:
        """Bytes."""

    @property
    def completed(self) -> int:
        """Bytes."""

    def run(self) -> None:
        """Blocks until it is done."""

    def hang_up(self) -> None:
        """Make `run` end soon; it need not have yet."""


@dataclass
class _Shared:
    work: Work
    done: asyncio.Future[None]
    waiting: int = 0


class Sharing:
    """Work by key, on one event loop.  It has threads of its own: downloads last for hours."""

    def __init__(self) -> None:
        self._shared: dict[str, _Shared] = {}
        self._threads = ThreadPoolExecutor(_MOST, "sharing")

    async def follow(self, key: str, begin: Callable[[], Work]) -> AsyncGenerator[Work, None]:
        """The work of that key every 60 ms until it is done; raises what it raises."""
        shared = self._shared.get(key) or self._begin(key, begin())
        shared.waiting += 1
        try:
            while not shared.done.done():
                yield shared.work
                await asyncio.wait([shared.done], timeout=INTERVAL_SECONDS)
            shared.done.result()
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.done.done():
                shared.work.hang_up()
                self._forget(key, shared)

    def _begin(self, key: str, work: Work) -> _Shared:
        done = asyncio.get_running_loop().run_in_executor(self._threads, work.run)
        shared = self._shared[key] = _Shared(work, done)
        done.add_done_callback(lambda _: self._forget(key, shared))
        return shared

    def _forget(self, key: str, shared: _Shared) -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]
        if shared.done.done() and not shared.done.cancelled():
            shared.done.exception()  # seen, also when all who waited have left
