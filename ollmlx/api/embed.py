"""POST /api/embed, /api/embeddings and /v1/embeddings."""

import asyncio
import base64
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ollmlx import gguf
from ollmlx.api import options, requests
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine
from ollmlx.api.openai.envelope import whole
from ollmlx.api.tokens import are_tokens, check_tokens
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest, Malformed, NotFound, OllmlxError
from ollmlx.store.golang import quoted
from ollmlx.wire import openai as wire
from ollmlx.wire.embeddings import (
    EmbeddingRequest,
    EmbeddingResponse,
    EmbedRequest,
    EmbedResponse,
)
from ollmlx.wire.encode import encode, float32s

Vectors = NDArray[np.float32]
Inputs = Sequence[str] | Sequence[list[int]]
"""Texts, or the token ids of each."""
TINY = 1e-12


async def embed(engine: Engine, request: EmbedRequest) -> Answer:
    return Whole(await _embedded(engine, request, _texts))


async def _embedded(
    engine: Engine, request: EmbedRequest, read: Callable[[Any], Inputs]
) -> EmbedResponse:
    """`read` is what the API at hand takes for an input."""
    started = time.perf_counter_ns()
    if not request.model.strip():
        raise NotFound(f"model '{request.model}' not found")
    inputs = read(request.input)
    model = await requests.find(engine, request.model, _missing(request.model))
    merged = options.merge(model, request.options)
    async with requests.lend(engine, model, merged, request.keep_alive) as process:
        loaded = time.perf_counter_ns()
        if not inputs:
            return EmbedResponse(request.model, [])
        # Ollama cuts texts to what was asked for, also where it loads a model with more.
        largest = process.info.num_ctx
        window = max(0, min(largest, merged.get("num_ctx", largest)))
        tokens = await _tokens(process, inputs, window, request.truncate is not False)
        vectors = normalised(await _vectors(process, tokens))
    if 0 < request.dimensions < vectors.shape[1]:
        vectors = normalised(vectors[:, : request.dimensions])
    return EmbedResponse(
        request.model,
        [float32s(row) for row in vectors],
        time.perf_counter_ns() - started,
        loaded - started,
        sum(map(len, tokens)),
    )


async def embeddings(engine: Engine, request: EmbeddingRequest) -> Answer:
    """The deprecated twin: one text whole, its numbers as Ollama's old runner gave them."""
    if not request.model.strip():
        raise BadRequest("model is required")
    model = await requests.find(engine, request.model, _missing(request.model))
    merged = options.merge(model, request.options)
    async with requests.lend(engine, model, merged, request.keep_alive) as process:
        if not request.prompt:
            return Whole(EmbeddingResponse([]))
        try:
            tokens = await _tokens(process, [request.prompt], process.info.num_ctx, truncate=False)
        except BadRequest as error:
            raise OllmlxError(str(error)) from error
        vectors = await _vectors(process, tokens)
    if not await asyncio.to_thread(_was_raw, model.format, Path(model.path)):
        vectors = normalised(vectors)
    return Whole(EmbeddingResponse([float(x) for x in vectors[0]]))


def _was_raw(kind: str, path: Path) -> bool:
    """Whether Ollama's old runner left a model's vectors as long as they came."""
    return kind != "gguf" or _gguf_was_raw(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _gguf_was_raw(path: Path, _changed: int) -> bool:
    """Source: `legacyEmbeddingsWereRaw` in `llm/llama_server.go`."""
    header = gguf.header(path)
    if header.key("pooling_type") is None:
        return False
    match header.arch:
        case "bert":
            other = (header.text("tokenizer.ggml.model") or "bert") != "bert"
            return other or not header.key("normalize_embeddings", True)
        case "nomic-bert" | "nomic-bert-moe":
            return not header.key("normalize_embeddings", False)
    return False


async def openai_embeddings(engine: Engine, request: wire.EmbedRequest) -> Answer:
    encoding = request.encoding_format.lower()
    if encoding not in ("", "float", "base64"):
        raise Malformed(
            f"Invalid value for 'encoding_format' = {request.encoding_format}."
            " Supported values: ['float', 'base64']."
        )
    if request.input is None or request.input == []:
        raise Malformed("invalid input")
    body = await _embedded(
        engine,
        EmbedRequest(
            request.model,
            [""] if request.input == "" else request.input,
            request.keep_alive,
            dimensions=request.dimensions,
            options=request.options,
        ),
        _texts_or_tokens,
    )
    data = [
        wire.EmbeddingObject("embedding", _base64(row) if encoding == "base64" else row, index)
        for index, row in enumerate(body.embeddings)
    ]
    usage = wire.EmbeddingsUsage(body.prompt_eval_count, body.prompt_eval_count)
    return whole(wire.EmbeddingList("list", data, request.model, usage))


def _missing(name: str) -> str:
    return f"model {quoted(name)} not found, try pulling it first"


def normalised(vectors: Vectors) -> Vectors:
    """Rows of length 1."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(norms, TINY)).astype(np.float32)
    return unit


def _base64(row: msgspec.Raw) -> msgspec.Raw:
    floats = np.array(msgspec.json.decode(row), "<f4")
    return msgspec.Raw(encode(base64.b64encode(floats.tobytes()).decode()))


def _texts(value: Any) -> list[str]:
    """An empty string is no input; a list with an empty string is one."""
    match value:
        case None | "":
            return []
        case str(text):
            return [text]
        case list(texts) if all(isinstance(text, str) for text in texts):
            return texts
    raise BadRequest("invalid input type")


def _texts_or_tokens(value: Any) -> Inputs:
    """Besides texts what OpenAI takes: one text as token ids, or several."""
    match value:
        case [int(), *_] if are_tokens(value):
            return [value]
        case [[*_], *_] if all(isinstance(tokens, list) and are_tokens(tokens) for tokens in value):
            return [*value]
    return _texts(value)


async def _tokens(
    process: ModelProcess, inputs: Inputs, window: int, truncate: bool
) -> list[list[int]]:
    """Token ids of each text, special ones included, none longer than the window."""
    texts = [text for text in inputs if isinstance(text, str)]
    given = [tokens for tokens in inputs if isinstance(tokens, list)]
    for tokens in given:
        check_tokens(process, tokens)
    found = given or await process.tokenize(texts)
    if all(len(tokens) <= window for tokens in found):
        return found
    if not truncate:
        raise BadRequest("the input length exceeds the context length")
    bare = given or await process.tokenize(texts, special=False)
    return [_clip(tokens, len(text), window) for tokens, text in zip(found, bare, strict=True)]


def _clip(tokens: list[int], bare: int, window: int) -> list[int]:
    """Cut the text's end off and keep the special tokens around it."""
    if len(tokens) <= window:
        return tokens
    extra = len(tokens) - bare
    if window - extra <= 0:
        raise BadRequest("input after truncation exceeds maximum context length")
    # Where both are added, one stands at either end.
    after = extra // 2
    return tokens[: window - after] + tokens[len(tokens) - after :]


async def _vectors(process: ModelProcess, tokens: list[list[int]]) -> Vectors:
    vectors = await process.embed(tokens)
    if not np.isfinite(vectors).all():
        raise BadRequest("embedding contains NaN or Inf values")
    return vectors
