"""Several answers side by side, without a model."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from ollmlx.api.choices import beside, gathered
from ollmlx.errors import BadRequest
from ollmlx.wire.native import GenerateResponse


class Answer:
    def __init__(self, text: str, error: Exception | None = None) -> None:
        self.text, self.error = text, error
        self.closed = asyncio.Event()

    async def frames(self) -> AsyncGenerator[GenerateResponse, None]:
        try:
            for letter in self.text:
                await asyncio.sleep(0)
                yield GenerateResponse(model="", created_at="", response=letter, done=False)
            if self.error:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_closing_closes_every_answer():
    answers = [Answer("ab"), Answer("cd")]
    async with aclosing(beside([answer.frames() for answer in answers])) as frames:
        seen = {index async for index, _ in limited(frames, 4)}
    assert seen == {0, 1}
    assert all(answer.closed.is_set() for answer in answers)


async def limited(frames: AsyncGenerator, most: int) -> AsyncGenerator:
    for _ in range(most):
        yield await anext(frames)


async def test_what_one_raises_ends_them_all():
    good, bad = Answer("ab"), Answer("", BadRequest("no"))
    with pytest.raises(BadRequest, match="no"):
        await gathered([good.frames(), bad.frames()])
    assert good.closed.is_set()


async def test_what_nobody_foresaw_is_raised_too():
    with pytest.raises(ZeroDivisionError):
        await gathered([Answer("", ZeroDivisionError()).frames()])
