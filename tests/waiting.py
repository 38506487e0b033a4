"""Waiting for what another process does, where there is no event to wait for."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return when the condition holds.  Raises `TimeoutError` when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # the only place that polls
            await asyncio.sleep(0.005)
