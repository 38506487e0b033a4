"""Shorthands for what the tests of both engines ask."""

from collections.abc import Callable

from ollmlx.engine.backend import Backend
from ollmlx.engine.jobs import Generate, Sampling
from tests.engine.answers import GREEDY
from tests.toy import CHAT

Open = Callable[..., Backend]
"""Loads a toy with `LoadOptions` as keywords."""


def job(
    backend: Backend,
    prompt: str | list[int] = CHAT,
    id: int = 1,
    max_tokens: int = 40,
    sampling: Sampling = GREEDY,
    **rest: object,
) -> Generate:
    tokens = backend.tokenize(prompt, True) if isinstance(prompt, str) else prompt
    return Generate(id, tokens, max_tokens, sampling, **rest)  # type: ignore[arg-type]  # test shorthand
