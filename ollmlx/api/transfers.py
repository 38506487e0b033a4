"""Models from registries and to them: pull and push."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TypeVar

from ollmlx import names
from ollmlx.api.answers import Answer
from ollmlx.api.engine import Engine
from ollmlx.api.progress import Frames, answered
from ollmlx.api.sharing import Work
from ollmlx.engine.fit import OVERHEAD, free_memory, gib
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.names import Name
from ollmlx.store.blobs import check_room
from ollmlx.store.download import DigestDiffers, Download
from ollmlx.store.layers import Layer, Manifest
from ollmlx.store.partial import Partial
from ollmlx.store.registry import BlobSource, Registry
from ollmlx.store.shelf import LayerGone, Shelf
from ollmlx.store.transport import Session
from ollmlx.store.upload import Upload
from ollmlx.wire.native import ProgressResponse, PullRequest, PushRequest

T = TypeVar("T")
_ROUNDS = 3
"""How often blobs that somebody removed while others came are fetched again."""


class PullFailed(OllmlxError):
    """The registry gave no manifest."""


class NotInstalled(OllmlxError):
    """There is no such model to push."""


class NeedsOtherRuntime(OllmlxError):
    """A model in Ollama's own tensor format, which only Ollama's MLX runner reads."""

    def __init__(self) -> None:
        super().__init__("this model requires MLX support, but the MLX runtime is not available")


async def pull(engine: Engine, request: PullRequest) -> Answer:
    name = _pulled(request.model or request.name)
    return await answered(_from_registry(engine, name, request.insecure), request.stream)


def pulling(engine: Engine, text: str) -> Frames:
    """The frames of a pull that is a part of something larger.  Raises as `pull`."""
    return _from_registry(engine, _pulled(text), insecure=False)


def _pulled(text: str) -> Name:
    """The name in a registry; `m:20b:cloud` is `m:20b-cloud` there.

    Raises `InvalidName`, or `BadRequest` for a name that wants two sources.
    """
    text = names.installed(text)
    base, _, suffix = text.rpartition(":")
    if suffix.lower() == "cloud" and ":" in base.rpartition("/")[2]:
        text = f"{base}-{suffix}"
    return names.parse(text)


async def _from_registry(engine: Engine, name: Name, insecure: bool) -> Frames:
    yield ProgressResponse("pulling manifest")
    shelf = Shelf(engine.settings.models)
    name = await asyncio.to_thread(shelf.spelling, name)
    session = Session()
    registry = Registry(name, session, insecure)
    manifest, data = await _ask(session, lambda: _manifest(registry))
    await asyncio.to_thread(_check_disk, shelf, manifest)
    if warning := _memory_warning(sum(layer.size for layer in manifest.blobs)):
        yield ProgressResponse(warning)
    old = await asyncio.to_thread(shelf.read, name)
    for round_ in range(_ROUNDS):
        async with aclosing(_layers(engine, shelf, registry, manifest)) as frames:
            async for frame in frames:
                yield frame
        yield ProgressResponse("writing manifest")
        try:
            await asyncio.to_thread(shelf.write, name, manifest, data)
            break
        except LayerGone:
            if round_ == _ROUNDS - 1:
                raise
    if old and not engine.settings.noprune:
        async with aclosing(remove_unused(shelf, old[0])) as frames:
            async for frame in frames:
                yield frame
    yield ProgressResponse("success")


async def _ask(session: Session, ask: Callable[[], T]) -> T:
    """What a blocking request answers; it is hung up when we are."""
    try:
        return await asyncio.to_thread(ask)
    finally:
        if (task := asyncio.current_task()) and task.cancelling():
            session.hang_up()


def _manifest(registry: Registry) -> tuple[Manifest, bytes]:
    try:
        manifest, data = registry.manifest()
    except OllmlxError as error:
        raise PullFailed(f"pull model manifest: {error}") from error
    if any(layer.kind == "tensor" for layer in manifest.layers or ()):
        raise NeedsOtherRuntime
    return manifest, data


def _check_disk(shelf: Shelf, manifest: Manifest) -> None:
    """Raises `NoRoom`."""
    missing = 0
    for layer in manifest.blobs:
        partial = Partial(shelf.blobs.path(layer.digest), layer.size)
        missing += 0 if partial.finished else layer.size - partial.completed_elsewhere()
    check_room(shelf.blobs.folder, missing)


def _memory_warning(size: int) -> str:
    """A line for people when a model of so many bytes cannot run here now, else empty."""
    needed, free = size + OVERHEAD, free_memory()
    if needed <= free:
        return ""
    return f"this model does not fit in memory now: it needs {gib(needed)}, {gib(free)} are free"


async def _layers(engine: Engine, shelf: Shelf, registry: Registry, manifest: Manifest) -> Frames:
    """Every blob that is missing, one after the other, then that all are right."""
    try:
        for layer in manifest.blobs:
            async with aclosing(_blob(engine, shelf, registry, layer)) as frames:
                async for frame in frames:
                    yield frame
    except DigestDiffers:
        yield ProgressResponse("verifying sha256 digest")
        raise
    yield ProgressResponse("verifying sha256 digest")


async def _blob(engine: Engine, shelf: Shelf, registry: Registry, layer: Layer) -> Frames:
    status = f"pulling {layer.digest[7:19]}"
    path = shelf.blobs.path(layer.digest)
    if await asyncio.to_thread(lambda: Partial(path, layer.size).finished):
        yield ProgressResponse(status, layer.digest, layer.size, layer.size)
        return

    def begin() -> Download:
        session = Session()
        source = BlobSource(registry, session, layer.digest)
        return Download(path, layer.digest, layer.size, source, session)

    async with aclosing(engine.sharing.follow(layer.digest, begin)) as works:
        async for work in works:
            yield ProgressResponse(status, layer.digest, layer.size, work.completed)


async def push(engine: Engine, request: PushRequest) -> Answer:
    text = request.model or request.name
    if not text:
        raise BadRequest("model is required")
    return await answered(_to_registry(engine, names.parse(text), request.insecure), request.stream)


async def _to_registry(engine: Engine, name: Name, insecure: bool) -> Frames:
    yield ProgressResponse("retrieving manifest")
    session = Session()
    registry = Registry(name, session, insecure)
    shelf = Shelf(engine.settings.models)
    name = await asyncio.to_thread(shelf.spelling, name)
    found = await asyncio.to_thread(shelf.read, name)
    if found is None:
        yield ProgressResponse("couldn't retrieve manifest")
        raise NotInstalled(f"open {shelf.path(name)}: no such file or directory")
    manifest, data = found
    for layer in manifest.blobs:
        async with aclosing(_sent_blob(engine, shelf, registry, layer)) as frames:
            async for frame in frames:
                yield frame
    yield ProgressResponse("pushing manifest")
    await _ask(session, lambda: registry.put_manifest(data))
    yield ProgressResponse("success")


async def _sent_blob(engine: Engine, shelf: Shelf, registry: Registry, layer: Layer) -> Frames:
    def begin() -> Upload:
        return Upload(shelf.blobs.path(layer.digest), layer, registry, Session())

    def frame(work: Work) -> ProgressResponse:
        status = f"pushing {layer.digest[7:19]}"
        return ProgressResponse(status, layer.digest, layer.size, work.completed)

    where = registry.blob_url(layer.digest)
    async with aclosing(engine.sharing.follow(where, begin)) as works:
        async for work in works:
            yield frame(work)
    yield frame(work)


async def remove_unused(shelf: Shelf, old: Manifest) -> Frames:
    """Remove what only a replaced manifest named; it is no failure when that does not work."""
    try:
        if await asyncio.to_thread(shelf.unused, old):
            yield ProgressResponse("removing unused layers")
            await asyncio.to_thread(shelf.remove_unused, old)
    except OllmlxError as error:
        yield ProgressResponse(f"couldn't remove unused layers: {error}")
