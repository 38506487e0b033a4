"""Create: a model out of another one, out of uploaded files, and out of words.

What the request is made of decides the form of the model: GGUF goes into Ollama's store, folders
of safetensors become MLX models.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Any

from msgspec import to_builtins

from ollmlx import names
from ollmlx.api import transfers
from ollmlx.api.answers import Answer
from ollmlx.api.changes import changes
from ollmlx.api.creating import gguf as creating_gguf
from ollmlx.api.creating import mlx as creating_mlx
from ollmlx.api.creating import remote as creating_remote
from ollmlx.api.engine import Engine
from ollmlx.api.jobs import Begin
from ollmlx.api.progress import Frames, answered
from ollmlx.errors import BadRequest, InvalidName, NotFound, OllmlxError
from ollmlx.names import Name
from ollmlx.prompt import gotemplate
from ollmlx.store.changes import Changes
from ollmlx.store.model import Model
from ollmlx.store.ollama.blobs import BadDigest
from ollmlx.wire.native import CreateRequest, ProgressResponse

_TEXTS = ("model_family", "base_name", "quantization_level", "parameter_size")
_COUNTS = ("context_length", "embedding_length")


async def create(engine: Engine, request: CreateRequest) -> Answer:
    name, begin = making(engine, request)
    sent = {"kind": "create", "request": to_builtins(request)}
    frames = engine.jobs.follow("create", name.display, sent, begin)
    return await answered(frames, request.stream)


def making(engine: Engine, request: CreateRequest) -> tuple[Name, Begin]:
    """The model of a request, and how to make it.  Raises `BadRequest`, `BadDigest`, …"""
    for files in (request.files, request.draft_files, request.adapters):
        _check_files(files)
    if request.draft_quantize and not request.draft_files:
        raise BadRequest("--draft-quantize requires a DRAFT model")
    name = names.parse(request.model or request.name)
    return name, lambda _sizes: _created(engine, request, name)


def _check_files(files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        path = PurePosixPath(name)
        plain = str(path) == name and "\0" not in name
        if not plain or not name or path.is_absolute() or ".." in path.parts:
            raise BadRequest("file path must be relative")
        if not digest:
            raise BadDigest


async def _created(engine: Engine, request: CreateRequest, name: Name) -> Frames:
    store = changes(engine)
    name = await asyncio.to_thread(store.spelling, name)
    base = None
    if request.from_:
        _check_base(request)
    if request.from_ and not creating_remote.asked(request):
        async with aclosing(_pulled_if_missing(engine, request.from_)) as frames:
            async for frame in frames:
                yield frame
        base = await asyncio.to_thread(engine.library.find, names.installed(request.from_))
        _check_here(base)
    elif not request.from_ and not request.files:
        raise BadRequest("neither 'from' or 'files' was specified")
    _check_info(request.info)
    await asyncio.to_thread(_check_template, request.template)
    work = _work(store, base, request)
    async with aclosing(work(store, base, request, name)) as frames:
        async for frame in frames:
            yield frame
    yield ProgressResponse("success")


def _check_base(request: CreateRequest) -> None:
    try:
        names.parse(names.of_cloud(request.from_) or names.installed(request.from_))
    except BadRequest as error:
        raise InvalidName from error


def _check_here(base: Model) -> None:
    if base.remote_host:
        raise BadRequest(
            f"{base.name} has no weights: {base.remote_host} runs it as {base.remote_model}, "
            "which is to be named with that remote_host"
        )


async def _pulled_if_missing(engine: Engine, name: str) -> Frames:
    """The frames of a pull, its `success` too, for a model that is not installed."""
    try:
        await asyncio.to_thread(engine.library.find, names.installed(name))
    except NotFound:
        async with aclosing(transfers.pulling(engine, name)) as frames:
            async for frame in frames:
                yield frame


def _work(store: Changes, base: Model | None, request: CreateRequest) -> Any:
    folder = base.format == "mlx" if base else creating_gguf.are_safetensors(request.files)
    return creating_mlx.created if folder else creating_gguf.created


def _check_template(template: str) -> None:
    try:
        gotemplate.parse(template)
    except OllmlxError as error:
        raise BadRequest(f"template error: {error}") from error


def _check_info(info: Mapping[str, Any]) -> None:
    for key in _TEXTS:
        if not isinstance(info.get(key, ""), str):
            raise BadRequest(f'info field "{key}" must be a string')
    for key in _COUNTS:
        value = info.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequest(f'info field "{key}" must be a number')
        if value < 0 or value != int(value) or value >= 1 << 63:
            raise BadRequest(f'info field "{key}" must be a non-negative integer')
