"""Shorthands for what the tests of both engines ask."""

from collections.abc import Callable
from typing import Any

from ollmlx.engine.backend import Backend
from ollmlx.engine.jobs import Generate, Medium, Sampling
from tests.engine.answers import GREEDY
from tests.toy import CHAT

Open = Callable[..., Backend]
"""Loads a toy with `LoadOptions` as keywords."""
Part = str | bytes
"""Of a prompt: a text or a picture's file."""


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


def asked(backend: Backend, id: int, *parts: Part, max_tokens: int = 12, **rest: Any) -> Generate:
    """A question of texts and pictures."""
    prompt, shown = list[int](), list[Medium]()
    for part in parts:
        if isinstance(part, bytes):
            shown.append(Medium(part, backend.look([part])[0]))
            prompt += shown[-1].tokens
        else:
            prompt += backend.tokenize(part, False)
    return Generate(id, prompt, max_tokens, **({"sampling": GREEDY} | rest), media=shown)
