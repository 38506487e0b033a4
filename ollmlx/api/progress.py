"""Progress of work on the store, as the answer of pull, push and create."""

from collections.abc import AsyncGenerator

from ollmlx.api.answers import PLAIN_JSON, Answer, Stream, Whole
from ollmlx.errors import OllmlxError
from ollmlx.wire.native import ErrorResponse, ProgressResponse

Frames = AsyncGenerator[ProgressResponse, None]


async def answered(frames: Frames, stream: bool | None) -> Answer:
    """The frames as they come; without `stream`, the last of them.

    What fails before the first frame has a status of its own, and Ollama labels it as plain JSON.
    """
    try:
        if stream is False:
            return await _last(frames)
        first = await anext(frames)
    except OllmlxError as error:
        return Whole(ErrorResponse(str(error)), PLAIN_JSON, status=error.status)
    return Stream(_after(first, frames))


async def _last(frames: Frames) -> Answer:
    last = None
    async for frame in frames:
        last = frame
    return Whole(last, PLAIN_JSON)


async def _after(first: ProgressResponse, frames: Frames) -> Frames:
    try:
        yield first
        async for frame in frames:
            yield frame
    finally:
        await frames.aclose()
