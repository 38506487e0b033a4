"""Models from registries and to them: pull and push."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ollmlx import names
from ollmlx.api.answers import Answer
from ollmlx.api.engine import Engine
from ollmlx.api.jobs import Begin, Sizes
from ollmlx.api.progress import Frames, answered
from ollmlx.api.sharing import Work
from ollmlx.engine.fit import OVERHEAD, free_memory, gib
from ollmlx.errors import BadRequest, InvalidName, OllmlxError
from ollmlx.names import Name
from ollmlx.store.ollama.blobs import check_room
from ollmlx.store.ollama.layers import Layer, Manifest
from ollmlx.store.ollama.manifests import BadManifest
from ollmlx.store.ollama.shelf import LayerGone, Shelf
from ollmlx.store.places import shortnames
from ollmlx.store.transfer.download import DigestDiffers, Download, Source
from ollmlx.store.transfer.hub import Hub, Wanted, is_from_hub
from ollmlx.store.transfer.partial import is_whole, missing_bytes
from ollmlx.store.transfer.registry import BlobSource, Registry
from ollmlx.store.transfer.transport import Session
from ollmlx.store.transfer.upload import Upload
from ollmlx.wire.native import ProgressResponse, PullRequest, PushRequest

T = TypeVar("T")
_log = logging.getLogger(__name__)
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
    frames = pulling(engine, request.model or request.name, request.insecure)
    return await answered(frames, request.stream)


def pulling(engine: Engine, text: str, insecure: bool = False) -> Frames:
    """Progress of a model on its way here, seen as a job.

    Raises `InvalidName` or `BadRequest` at once; the frames raise what keeps it from coming.
    """
    name = pulled_name(text)
    request = {"kind": "pull", "model": text, "insecure": insecure}
    return engine.jobs.follow("pull", name.display, request, fetching(engine, name, insecure))


def pulled_name(text: str) -> Name:
    """What a text to pull means.  Raises `InvalidName` or `BadRequest`."""
    return shortnames.meant(names.parse(names.in_registry(text)))


@dataclass(frozen=True)
class Offer:
    """What a pull would fetch."""

    size: int
    """Bytes of all files."""
    missing: int
    """The part of them that is not here."""


async def look_up(engine: Engine, name: Name, insecure: bool) -> Offer:
    """Raises `PullFailed` or `NeedsOtherRuntime`."""
    if is_from_hub(name):
        return await asyncio.to_thread(_offered_by_hub, name)
    session = Session()
    registry = Registry(name, session, insecure)
    manifest, _ = await ask(session, lambda: _manifest(registry))
    blobs = Shelf(engine.settings.models).blobs
    missing = [missing_bytes(blobs.path(layer.digest), layer.size) for layer in manifest.blobs]
    return Offer(sum(layer.size for layer in manifest.blobs), sum(missing))


def _offered_by_hub(name: Name) -> Offer:
    hub = Hub()
    try:
        wanted = hub.look_up(name)
    except OllmlxError as error:
        raise PullFailed(f"pull model manifest: {error}") from error
    missing = (missing_bytes(hub.blob(wanted, f), f.size) for f in wanted.weights if f.sha256)
    return Offer(sum(file.size for file in wanted.weights), sum(missing))


def fetching(engine: Engine, name: Name, insecure: bool) -> Begin:
    """How to fetch a model from a registry or from the hub."""
    if is_from_hub(name):
        return partial(_from_hub, engine, name)
    return partial(_from_registry, engine, name, insecure)


async def _from_registry(engine: Engine, name: Name, insecure: bool, sizes: Sizes) -> Frames:
    shelf = Shelf(engine.settings.models)
    name = await asyncio.to_thread(shelf.spelling, name)
    session = Session()
    registry = Registry(name, session, insecure)
    yield ProgressResponse("pulling manifest")
    manifest, data = await ask(session, lambda: _manifest(registry))
    sizes.update({layer.digest: layer.size for layer in manifest.blobs})
    await asyncio.to_thread(_check_disk, shelf, manifest)
    for frame in _memory_warning(sum(layer.size for layer in manifest.blobs)):
        yield frame
    old = await asyncio.to_thread(_replaced, shelf, name)
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
        async with aclosing(remove_unused(shelf, old)) as frames:
            async for frame in frames:
                yield frame
    yield ProgressResponse("success")


async def ask(session: Session, ask: Callable[[], T]) -> T:
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


def _replaced(shelf: Shelf, name: Name) -> Manifest | None:
    """What has the name now; a damaged one is about to be mended."""
    try:
        found = shelf.read(name)
    except BadManifest as error:
        _log.warning("pulling over a damaged model: %s", error)
        return None
    return found[0] if found else None


def _check_disk(shelf: Shelf, manifest: Manifest) -> None:
    """Raises `NoRoom`."""
    blobs = shelf.blobs
    missing = (missing_bytes(blobs.path(layer.digest), layer.size) for layer in manifest.blobs)
    check_room(blobs.folder, sum(missing))


def _memory_warning(size: int) -> list[ProgressResponse]:
    """A line for people when a model of so many bytes cannot run here now, else none."""
    needed, free = size + OVERHEAD, free_memory()
    if needed <= free:
        return []
    text = f"this model does not fit in memory now: it needs {gib(needed)}, {gib(free)} are free"
    return [ProgressResponse(text)]


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
    path = shelf.blobs.path(layer.digest)

    def source(session: Session) -> Source:
        return BlobSource(registry, session, layer.digest)

    async with aclosing(_download(engine, path, layer.digest, layer.size, source)) as frames:
        async for frame in frames:
            yield frame


async def _download(
    engine: Engine, path: Path, digest: str, size: int, source: Callable[[Session], Source]
) -> Frames:
    """One file; a single line when it is there."""
    status = f"pulling {digest[7:19]}"
    if await asyncio.to_thread(is_whole, path, size):
        yield ProgressResponse(status, digest, size, size)
        return

    def begin() -> Download:
        session = Session()
        return Download(path, digest, size, source(session), session)

    async with aclosing(engine.sharing.follow(str(path), begin)) as works:
        async for work in works:
            yield ProgressResponse(status, digest, size, work.completed)


async def _from_hub(engine: Engine, name: Name, sizes: Sizes) -> Frames:
    yield ProgressResponse("pulling manifest")
    hub = await asyncio.to_thread(Hub)
    try:
        if hub.offline:
            await asyncio.to_thread(engine.library.find, name.display)
            yield ProgressResponse("success")
            return
        wanted = await asyncio.to_thread(hub.look_up, name)
    except OllmlxError as error:
        raise PullFailed(f"pull model manifest: {error}") from error
    sizes.update({f"sha256:{file.sha256}": file.size for file in wanted.weights if file.sha256})
    await asyncio.to_thread(hub.check_room, wanted)
    for frame in _memory_warning(sum(file.size for file in wanted.weights)):
        yield frame
    async with aclosing(_hub_files(engine, hub, wanted)) as frames:
        async for frame in frames:
            yield frame
    yield ProgressResponse("writing manifest")
    await asyncio.to_thread(hub.place, wanted, wanted.weights)
    await asyncio.to_thread(hub.publish, wanted)
    yield ProgressResponse("success")


async def _hub_files(engine: Engine, hub: Hub, wanted: Wanted) -> Frames:
    if wanted.small:
        yield ProgressResponse("pulling settings and tokenizer")
        await asyncio.to_thread(hub.place, wanted, wanted.small)
    for file in wanted.weights:
        if not file.sha256:
            continue  # so small that the hub keeps it in git: it comes when it is placed
        path, source = hub.blob(wanted, file), partial(hub.source, wanted, file)
        async with aclosing(
            _download(engine, path, f"sha256:{file.sha256}", file.size, source)
        ) as frames:
            async for frame in frames:
                yield frame
    yield ProgressResponse("verifying sha256 digest")


async def push(engine: Engine, request: PushRequest) -> Answer:
    text = request.model or request.name
    if not text:
        raise BadRequest("model is required")
    try:
        name = names.parse(text)
    except InvalidName as error:
        return await answered(_nothing_to_push(f"unqualified name: {error.name}"), request.stream)
    sent = {"kind": "push", "model": text, "insecure": request.insecure}
    begin = sending(engine, name, request.insecure)
    return await answered(engine.jobs.follow("push", name.display, sent, begin), request.stream)


async def _nothing_to_push(why: str) -> Frames:
    """Ollama looks for the model first, and tells of it in lines."""
    yield ProgressResponse("retrieving manifest")
    yield ProgressResponse("couldn't retrieve manifest")
    raise NotInstalled(why)


def sending(engine: Engine, name: Name, insecure: bool) -> Begin:
    """How to push a model."""
    return partial(_to_registry, engine, name, insecure)


async def _to_registry(engine: Engine, name: Name, insecure: bool, sizes: Sizes) -> Frames:
    session = Session()
    registry = Registry(name, session, insecure)
    shelf = Shelf(engine.settings.models)
    local = await asyncio.to_thread(shelf.spelling, name)
    found = await asyncio.to_thread(shelf.read, local)
    if found is None:
        async with aclosing(
            _nothing_to_push(f"open {shelf.path(local)}: no such file or directory")
        ) as frames:
            async for frame in frames:
                yield frame
        return
    yield ProgressResponse("retrieving manifest")
    manifest, data = found
    sizes.update({layer.digest: layer.size for layer in manifest.blobs})
    # Where nobody can be asked at all there is nothing to wait for, as there is when a chunk fails.
    await ask(session, lambda: registry.has(manifest.blobs[0].digest))
    for layer in manifest.blobs:
        async with aclosing(_sent_blob(engine, shelf, registry, layer)) as frames:
            async for frame in frames:
                yield frame
    yield ProgressResponse("pushing manifest")
    await ask(session, lambda: registry.put_manifest(data))
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
