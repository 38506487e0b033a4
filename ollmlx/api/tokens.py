"""POST /api/tokenize and /api/detokenize, which Ollama does not have: a model's own tokens."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from ollmlx.api import options, requests
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest
from ollmlx.wire import additions as wire


async def tokenize(engine: Engine, request: wire.TokenizeRequest) -> Answer:
    started = time.perf_counter_ns()
    async with _lent(engine, request) as process:
        loaded = time.perf_counter_ns()
        (tokens,) = await process.tokenize([request.text], special=request.special is not False)
    ended = time.perf_counter_ns()
    return Whole(wire.TokenizeResponse(request.model, tokens, ended - started, loaded - started))


async def detokenize(engine: Engine, request: wire.DetokenizeRequest) -> Answer:
    started = time.perf_counter_ns()
    async with _lent(engine, request) as process:
        loaded = time.perf_counter_ns()
        text = await _text(process, request.tokens)
    ended = time.perf_counter_ns()
    return Whole(wire.DetokenizeResponse(request.model, text, ended - started, loaded - started))


async def text_of(engine: Engine, model: str, tokens: list[int]) -> str:
    """Raises `BadRequest` for tokens that the model does not have."""
    async with _lent(engine, wire.DetokenizeRequest(model)) as process:
        return await _text(process, tokens)


def are_tokens(values: list[Any]) -> bool:
    return bool(values) and all(type(value) is int for value in values)


def check_tokens(process: ModelProcess, tokens: list[int]) -> None:
    most = process.info.num_vocab
    if wrong := [token for token in tokens if not 0 <= token < most]:
        raise BadRequest(f"token {wrong[0]} is none of the model's, which go from 0 to {most - 1}")


async def _text(process: ModelProcess, tokens: list[int]) -> str:
    check_tokens(process, tokens)
    return await process.detokenize(tokens)


@asynccontextmanager
async def _lent(
    engine: Engine, request: wire.TokenizeRequest | wire.DetokenizeRequest
) -> AsyncGenerator[ModelProcess, None]:
    if not request.model.strip():
        raise BadRequest("model is required")
    model = await requests.find(engine, request.model)
    merged = options.merge(model, request.options)
    async with requests.lend(engine, model, merged, request.keep_alive) as process:
        yield process
