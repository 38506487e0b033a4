"""What changes the store at once: copy, delete, and the blobs that a model is created from."""

import asyncio
import logging
from contextlib import ExitStack

from ollmlx import names
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.engine import Engine, Upload
from ollmlx.errors import BadRequest, InvalidName, LoadFailed, NotFound, OllmlxError
from ollmlx.names import Name
from ollmlx.store.changes import Changes
from ollmlx.store.golang import quoted
from ollmlx.store.model import Model
from ollmlx.store.ollama.blobs import Blobs, DigestMismatch, Writer
from ollmlx.wire import native

_log = logging.getLogger(__name__)
CREATED = 201
GATHERED = 4 << 20
"""Bytes of an upload that are hashed and written at a time."""


def changes(engine: Engine) -> Changes:
    settings = engine.settings
    return Changes(settings.models, prune=not settings.noprune)


async def tidy(engine: Engine) -> None:
    """What Ollama does to its store when it starts."""
    try:
        await asyncio.to_thread(changes(engine).tidy)
    except OllmlxError as error:
        _log.warning("the store was not tidied: %s", error)


async def copy(engine: Engine, request: native.CopyRequest) -> Answer:
    source = _named(request.source, f"source {quoted(request.source)} is invalid")
    target = _named(request.destination, f"destination {quoted(request.destination)} is invalid")
    await asyncio.to_thread(_copy, engine, request.source, source, target)
    engine.news.tell("model_copied", target.display)
    return Whole()


def _copy(engine: Engine, sent: str, source: Name, target: Name) -> None:
    if source.matches(target):
        return  # Ollama does not even look for it
    store = changes(engine)
    try:
        model = engine.library.find(source.full)
    except NotFound as error:
        raise NotFound(f"model {quoted(sent)} not found") from error
    store.copy(model, store.spelling(target))


async def delete(engine: Engine, request: native.DeleteRequest) -> Answer:
    sent = request.model or request.name
    if not sent.strip():
        raise BadRequest("model is required")
    name = _named(names.in_registry(sent), f"name {quoted(sent)} is invalid")
    if not await asyncio.to_thread(_delete, engine, name):
        raise NotFound(f"model '{sent}' not found")
    engine.news.tell("model_deleted", name.display)
    return Whole()


def _delete(engine: Engine, name: Name) -> bool:
    return changes(engine).delete(name, _found(engine, name))


def _found(engine: Engine, name: Name) -> Model | None:
    try:
        return engine.library.find(name.full)
    except (NotFound, LoadFailed):
        return None  # what is damaged can be deleted too


def _named(sent: str, otherwise: str) -> Name:
    try:
        return names.parse(sent)
    except InvalidName as error:
        raise BadRequest(otherwise) from error


async def has_blob(engine: Engine, digest: str) -> Answer:
    if not await asyncio.to_thread(_is_here, changes(engine).shelf.blobs, digest):
        raise NotFound(f"blob {quoted(digest)} not found")
    return Whole()


def _is_here(blobs: Blobs, digest: str) -> bool:
    """Raises `BadDigest`.  Blobs lie under small letters, which Ollama takes by the letter."""
    return blobs.has(digest) and digest == digest.lower()


async def upload(engine: Engine, upload: Upload) -> Answer:
    """Hashed while it is received.  What is not what it is called is kept under its true digest,
    as Ollama does, and pruned when nothing refers to it.
    """
    blobs = changes(engine).shelf.blobs
    if await asyncio.to_thread(_is_here, blobs, upload.parameter):
        return Whole()
    digest = await _received(blobs, upload)
    if digest != upload.parameter:
        raise DigestMismatch(upload.parameter, digest)
    return Whole(status=CREATED)


async def _received(blobs: Blobs, upload: Upload) -> str:
    with ExitStack() as stack:
        writer: Writer = await asyncio.to_thread(stack.enter_context, blobs.writing())
        gathered = bytearray()
        async for chunk in upload.chunks:
            gathered += chunk
            if len(gathered) >= GATHERED:
                await asyncio.to_thread(writer.write, bytes(gathered))
                gathered.clear()
        await asyncio.to_thread(writer.write, bytes(gathered))
        return (await asyncio.to_thread(writer.commit)).digest
