"""Create for GGUF: layers of files, of a model and of words, and the manifest that names them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ollmlx.api.creating import remote as creating_remote
from ollmlx.api.creating import weights as creating_weights
from ollmlx.api.progress import Frames
from ollmlx.convert.subprocesses import progress
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.gguf import header
from ollmlx.names import Name
from ollmlx.store.changes import Changes, MissingBlob, lay_out
from ollmlx.store.model import Model
from ollmlx.store.ollama import named
from ollmlx.store.ollama.blobs import BadDigest
from ollmlx.store.ollama.config import Config
from ollmlx.store.ollama.making import Making
from ollmlx.store.ollama.workspace import workspace
from ollmlx.store.places.splits import Part, grouped
from ollmlx.store.weights import Weights, readers
from ollmlx.wire.native import CreateRequest, ProgressResponse

_MAGIC = b"GGUF"


@dataclass
class _Plan:
    """What a create has so far."""

    store: Changes
    request: CreateRequest
    making: Making
    weights: Weights = field(default_factory=readers)
    parts: dict[Path, list[Part]] = field(default_factory=dict)
    """Of each layer that came as files."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Below those of the request: the stops of a template that was recognised."""


async def created(store: Changes, base: Model | None, request: CreateRequest, name: Name) -> Frames:
    """Raises `BadRequest`, `BadSplit`, `BadGguf`, `CannotStore` …"""
    with workspace(store.root) as folder:
        plan = _Plan(store, request, await asyncio.to_thread(_begun, store, base, request))
        async with aclosing(_gathered(plan, folder)) as frames:
            async for frame in frames:
                yield frame
        steps = creating_weights.rewritten(plan.making, plan.parts, request, folder)
        async with aclosing(steps) as frames:
            async for frame in frames:
                yield frame
        for status in await asyncio.to_thread(_finished, plan):
            yield ProgressResponse(status)
        yield ProgressResponse("writing manifest")
        await asyncio.to_thread(lambda: store.install(name, plan.making.manifest()))


def _begun(store: Changes, base: Model | None, request: CreateRequest) -> Making:
    config = Config(renderer=request.renderer, parser=request.parser, requires=request.requires)
    if creating_remote.asked(request):
        creating_remote.address(request, config)
    return store.base(base, config) if base else Making(store.shelf, config)


# -- files ----------------------------------------------------------------------------------------


async def _gathered(plan: _Plan, folder: Path) -> Frames:
    request = plan.request
    if request.files and not request.from_:
        async for frame in _parsed(plan, request.files, ""):
            yield frame
    with _asked_wrongly():
        if are_safetensors(request.adapters):
            async for frame in _converted(plan, folder):
                yield frame
        elif request.adapters:
            if len(request.adapters) > 1:
                raise BadRequest("only one adapter is currently supported")
            async for frame in _parsed(plan, request.adapters, "adapter"):
                yield frame
        if request.draft_files:
            async for frame in _parsed(plan, request.draft_files, "draft"):
                yield frame


@contextmanager
def _asked_wrongly() -> Iterator[None]:
    """For Ollama, whatever is wrong with an adapter or a draft is the request's fault."""
    try:
        yield
    except OllmlxError as error:
        raise BadRequest(str(error)) from error


async def _converted(plan: _Plan, folder: Path) -> Frames:
    """An adapter of PEFT's, for the model that is there."""
    models = plan.making.files("model")
    if not models:
        raise BadRequest("no base model was found")
    yield ProgressResponse("converting adapter")
    source, target = folder / "adapter", folder / "adapter.gguf"
    await asyncio.to_thread(lay_out, plan.store, plan.request.adapters, source)
    arguments = ("ollmlx.convert.adapter_gguf", str(source), str(target), str(models[0]))
    async with aclosing(progress(*arguments)) as lines:
        async for _ in lines:
            pass
    blob = await asyncio.to_thread(plan.store.shelf.blobs.adopt, target)
    plan.making.add_blob("adapter", blob)


def are_safetensors(files: Mapping[str, str]) -> bool:
    return any(name.endswith(".safetensors") for name in files)


async def _parsed(plan: _Plan, files: Mapping[str, str], kind: str) -> Frames:
    if not any(name.endswith(".gguf") for name in files) and not await asyncio.to_thread(
        _any_gguf, plan, files
    ):
        raise BadRequest("unknown type")
    parts = []
    for name in sorted(files):
        yield ProgressResponse("parsing GGUF")
        parts.append(await asyncio.to_thread(_part, plan, name, files[name]))
    await asyncio.to_thread(_add, plan, parts, kind)


def _any_gguf(plan: _Plan, files: Mapping[str, str]) -> bool:
    for digest in files.values():
        with suppress(MissingBlob, BadDigest):
            if _begins(_blob(plan, digest)) == _MAGIC:
                return True
    return False


def _blob(plan: _Plan, digest: str) -> Path:
    path = plan.store.shelf.blobs.path(digest)
    if not path.is_file():
        raise MissingBlob(path)
    return path


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_MAGIC))


def _part(plan: _Plan, name: str, digest: str) -> Part:
    path = _blob(plan, digest)
    if _begins(path) != _MAGIC:
        raise BadRequest("supplied file was not in GGUF format")
    return Part(name, digest, header(path))


def _add(plan: _Plan, parts: Sequence[Part], kind: str) -> None:
    groups = grouped(parts)
    for group in groups:
        first = group[0]
        path = _blob(plan, first.digest)
        is_kind = plan.weights.gguf(path).kind
        if kind == "adapter" and is_kind != "adapter":
            raise BadRequest(f"{first.name} holds a {is_kind}, not an adapter")
        plan.making.add_file(kind or is_kind, first.digest, first.name)
        plan.parts[path] = group
    if kind != "draft":
        for group in groups:
            _recognise(plan, _blob(plan, group[0].digest))


def _recognise(plan: _Plan, path: Path) -> None:
    """The template and the stops that Ollama knows for the weights' own template."""
    if found := named.meant(plan.weights.gguf(path).chat_template):
        status = f"using autodetected template {found.name}"
        plan.making.add("template", found.template, status)
        plan.parameters = plan.parameters or {"stop": list(found.stops)}


# -- words ----------------------------------------------------------------------------------------


def _finished(plan: _Plan) -> list[str]:
    """The statuses of all layers.  Raises `CannotStore`."""
    making, request, info = plan.making, plan.request, plan.request.info
    config = making.config
    config.capabilities = [*(config.capabilities or ()), *_capabilities(info)] or None
    if family := info.get("model_family"):
        config.model_family, config.model_families = family, [family]
    config.base_name = info.get("base_name", "")
    config.file_type = info.get("quantization_level", "")
    config.model_type = info.get("parameter_size", "")
    config.context_length = int(info.get("context_length", 0))
    config.embedding_length = int(info.get("embedding_length", 0))
    making.describe(plan.weights)
    stops = making.choose_renderer(request, plan.weights)
    parameters = {**stops, **request.parameters}
    making.fill(msgspec.structs.replace(request, parameters=parameters), plan.parameters)
    return making.statuses()


def _capabilities(info: Mapping[str, Any]) -> list[str]:
    given = info.get("capabilities")
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
