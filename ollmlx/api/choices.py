"""Several answers to one request, written side by side."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

from ollmlx.api.generate import joined
from ollmlx.wire.native import ChatResponse, GenerateResponse

T = TypeVar("T", GenerateResponse, ChatResponse)
MOST_AT_ONCE = 32
"""Answers of one request that are written at a time: the queue for a model is everybody's."""


async def beside(
    answers: Sequence[AsyncGenerator[T, None]],
) -> AsyncGenerator[tuple[int, T], None]:
    """The frames of all answers as they come, each with the number of its answer.

    What one of them raises ends them all, and so does closing.
    """
    queue: asyncio.Queue[tuple[int, T | None]] = asyncio.Queue()
    turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def write(index: int, frames: AsyncGenerator[T, None]) -> None:
        try:
            async with turns, aclosing(frames):
                async for frame in frames:
                    queue.put_nowait((index, frame))
        finally:
            queue.put_nowait((index, None))

    # A task each, and not a task a frame: a generator's contexts belong to the task it began in.
    writers = [asyncio.create_task(write(*numbered)) for numbered in enumerate(answers)]
    try:
        running = len(writers)
        while running:
            index, frame = await queue.get()
            if frame is None:
                running -= 1
                await writers[index]
            else:
                yield index, frame
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)


async def gathered(answers: Sequence[AsyncGenerator[T, None]]) -> list[T]:
    """Each answer as one frame."""
    parts: list[list[T]] = [[] for _ in answers]
    async with aclosing(beside(answers)) as frames:
        async for index, frame in frames:
            parts[index].append(frame)
    return [joined(part) for part in parts]
