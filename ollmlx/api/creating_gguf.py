"""Create for GGUF: files checked, joined, quantised by llama.cpp, and put into Ollama's store."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ollmlx.api.progress import Frames
from ollmlx.convert.subprocesses import progress
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.names import Name
from ollmlx.store import named
from ollmlx.store.changes import Changes, MissingBlob, lay_out, link
from ollmlx.store.config import Config
from ollmlx.store.details import FILE_TYPES
from ollmlx.store.gguf import Header, header
from ollmlx.store.making import Making
from ollmlx.store.model import Model
from ollmlx.store.splits import Part, grouped
from ollmlx.store.weights import Weights, readers
from ollmlx.store.workspace import workspace
from ollmlx.wire.native import CreateRequest, ProgressResponse

COPY = "COPY"
QUANTISED = "0" * 19
"""What Ollama calls the blob that is being rewritten."""
_MAGIC = b"GGUF"
_UNQUANTISED = ("F16", "BF16", "F32")
_ALIASES = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M"}
_NEEDS_STATISTICS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "Q2_K_S", "IQ3_XXS")
"""Types that llama.cpp writes only with an importance matrix."""
_OWN_SENSES = ("a.", "mm.", "mtp.", "s.", "v.")
"""Tensors that llama.cpp would drop: a model that sees or hears by itself."""


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
        async with aclosing(_rewritten(plan, folder)) as frames:
            async for frame in frames:
                yield frame
        for status in await asyncio.to_thread(_finished, plan):
            yield ProgressResponse(status)
        yield ProgressResponse("writing manifest")
        await asyncio.to_thread(lambda: store.install(name, plan.making.manifest()))


def _begun(store: Changes, base: Model | None, request: CreateRequest) -> Making:
    config = Config(renderer=request.renderer, parser=request.parser, requires=request.requires)
    return store.base(base, config) if base else Making(store.shelf, config)


# -- files ----------------------------------------------------------------------------------------


async def _gathered(plan: _Plan, folder: Path) -> Frames:
    request = plan.request
    if request.files and not request.from_:
        async for frame in _parsed(plan, request.files, ""):
            yield frame
    if _safetensors(request.adapters):
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


def _safetensors(files: Mapping[str, str]) -> bool:
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
    return any(_begins(_blob(plan, digest)) == _MAGIC for digest in files.values())


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


# -- rewriting ------------------------------------------------------------------------------------


async def _rewritten(plan: _Plan, folder: Path) -> Frames:
    request = plan.request
    for kind, wanted in (
        ("model", request.quantize or request.quantization),
        ("draft", request.draft_quantize),
    ):
        for path in plan.making.files(kind):
            async with aclosing(_rewrite(plan, path, wanted, folder)) as frames:
                async for frame in frames:
                    yield frame


async def _rewrite(plan: _Plan, path: Path, wanted: str, folder: Path) -> Frames:
    found = await asyncio.to_thread(header, path)
    has = (await asyncio.to_thread(plan.weights.gguf, path)).details.quantization_level
    kind = _wanted(wanted.upper(), has)
    if not kind and path in plan.parts:
        kind = COPY
    if not kind or (kind == COPY and _senses(found) and len(plan.parts[path]) == 1):
        return
    if _senses(found):
        raise BadRequest(
            "a model that holds its own vision or audio tensors can be neither quantised nor joined"
        )
    source = await asyncio.to_thread(_source, plan, path, folder)
    target = folder / "rewritten"
    total = await asyncio.to_thread(lambda: path.stat().st_size)
    status = "validating GGUF model" if kind == COPY else f"quantizing {has} model to {kind}"
    arguments = ("ollmlx.convert.quantise_gguf", str(source), str(target), kind)
    async with aclosing(progress(*arguments)) as lines:
        async for line in lines:
            done = total * line["done"] // line["of"]
            yield ProgressResponse(status, QUANTISED, total, done)
    yield ProgressResponse("verifying conversion")
    blob = await asyncio.to_thread(plan.store.shelf.blobs.adopt, target)
    plan.making.replace_model(path, blob)


def _wanted(kind: str, has: str) -> str:
    """The type to write; empty when the weights have it, or none was asked for."""
    kind = _ALIASES.get(kind, kind)
    if not kind:
        return ""
    if kind not in FILE_TYPES.values() or kind in _NEEDS_STATISTICS:
        raise OllmlxError(
            f"unsupported quantization type {kind} - supported types are "
            "F32, F16, Q4_K_S, Q4_K_M, Q8_0"
        )
    if has not in _UNQUANTISED:
        raise OllmlxError("quantization is only supported for F16, BF16 and F32 models")
    return "" if kind == has else kind


def _senses(found: Header) -> bool:
    return any(tensor.name.startswith(_OWN_SENSES) for tensor in found.tensors)


def _source(plan: _Plan, path: Path, folder: Path) -> Path:
    """The blob; for a split one, links by the names that llama.cpp finds the parts under."""
    parts = plan.parts.get(path, [])
    if len(parts) < 2:
        return path
    links = [folder / part.name.rpartition("/")[2] for part in parts]
    for part, target in zip(parts, links, strict=True):
        link(_blob(plan, part.digest), target)
    return links[0]


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
