"""The weights of a create written anew: quantised by llama.cpp, joined from parts, proved to load.

When which of it happens, and what is said, is as Ollama does it.
Source: `createModel` in `server/create.go` of https://github.com/ollama/ollama.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from ollmlx.api.progress import Frames
from ollmlx.convert.subprocesses import progress
from ollmlx.errors import OllmlxError
from ollmlx.gguf import Header, header
from ollmlx.store import details
from ollmlx.store.changes import link
from ollmlx.store.ollama import rewriting
from ollmlx.store.ollama.blobs import check_room, storing
from ollmlx.store.ollama.making import Making
from ollmlx.store.places.splits import Part
from ollmlx.wire.native import CreateRequest, ProgressResponse

COPY = "COPY"
QUANTISED = "0" * 19
"""What Ollama calls the blob that is being rewritten."""
_UNQUANTISED = ("F16", "BF16", "F32")
_ALIASES = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M"}
_NEEDS_STATISTICS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "Q2_K_S", "IQ3_XXS")
"""Types that llama.cpp writes only with an importance matrix."""
_LEAST_ROOM = 1 << 20
_NUMBERS = {name: number for number, name in details.FILE_TYPES.items()}


@dataclass(frozen=True)
class _Found:
    """A layer of weights as it came."""

    kind: str
    path: Path
    """The blob; of a split model, that of its first part."""
    header: Header
    parts: Mapping[str, Path]
    """Names and blobs of the files it was uploaded as; none for what a model brought along."""

    @property
    def split(self) -> bool:
        return len(self.parts) > 1

    @property
    def level(self) -> str:
        return details.of_gguf(self.header, 0).quantization_level

    @property
    def senses(self) -> bool:
        """Whether it has what llama.cpp keeps in a projector, and would drop."""
        return any(
            one.sees_or_hears for one in rewriting.tensors(*(self.parts.values() or [self.path]))
        )

    @property
    def was_fp8(self) -> bool:
        tensors = self.header.key("source_fp8_tensors", [])
        return bool(self.header.key("source_quantization") == "hf_fp8" and tensors != [])


async def rewritten(
    making: Making, uploaded: Mapping[Path, Sequence[Part]], request: CreateRequest, folder: Path
) -> Frames:
    """`uploaded` are the layers that came as files.  Raises `BadGguf`, `CannotStore` …"""
    wanted = {
        "model": request.quantize or request.quantization,
        "draft": request.draft_quantize,
    }
    for number, (kind, path) in enumerate(making.weights()):
        parts = {part.name: making.shelf.blobs.path(part.digest) for part in uploaded.get(path, ())}
        found = _Found(kind, path, await asyncio.to_thread(header, path), parts)
        work = folder / str(number)
        if kind == "projector":
            steps = _described(making, found, work)
        else:
            steps = _rewrite(making, found, wanted[kind].upper(), work)
        async with aclosing(steps) as frames:
            async for frame in frames:
                yield frame


async def _described(making: Making, found: _Found, work: Path) -> Frames:
    """A projector of the first LLaVAs, told what it is."""
    keys = found.header.meta
    nameless = keys.keys().isdisjoint(("clip.projector_type", "clip.vision.projector_type"))
    if found.parts and nameless and found.header.key("has_vision_encoder") is True:
        yield ProgressResponse("updating GGUF projector metadata")
        target = work / "described"
        await _write(work, lambda: rewriting.with_projector_type(found.path, target))
        await _replace(making, found, target)


async def _rewrite(making: Making, found: _Found, wanted: str, work: Path) -> Frames:
    target = _target(wanted, found)
    senses = await asyncio.to_thread(lambda: found.senses)
    source = found.path
    if found.split and senses:
        source = work / "joined"
        await _write(work, lambda: rewriting.joined([*found.parts.values()], source))
        if not target:
            await _replace(making, found, source)
    elif found.parts and not target and not senses and (found.split or found.kind == "model"):
        target = COPY
    if not target:
        return
    if found.split and not senses:
        source = await asyncio.to_thread(_side_by_side, found, work)
    async with aclosing(_quantised(found, source, target, work)) as frames:
        async for frame in frames:
            yield frame
    result = work / "quantised"
    if senses:
        result = work / "whole"
        await _write(
            work,
            lambda: rewriting.with_senses(work / "quantised", source, result, _NUMBERS[target]),
        )
    yield ProgressResponse("verifying conversion")
    await _replace(making, found, result)


def _target(wanted: str, found: _Found) -> str:
    """The type to write; empty when the weights have it, or none was asked for."""
    kind, has = _ALIASES.get(wanted, wanted), found.level
    if not kind and found.kind == "model" and found.was_fp8 and has in _UNQUANTISED:
        kind = "Q8_0"
    if not kind:
        return ""
    if kind not in _NUMBERS or kind in _NEEDS_STATISTICS:
        raise OllmlxError(
            f"unsupported quantization type {kind} - supported types are "
            "F32, F16, Q4_K_S, Q4_K_M, Q8_0"
        )
    if has not in _UNQUANTISED and found.kind == "draft":
        raise OllmlxError(f"draft quantization requires an unquantized draft model, got {has}")
    if has not in _UNQUANTISED:
        raise OllmlxError("quantization is only supported for F16, BF16 and F32 models")
    return "" if kind == has else kind


async def _quantised(found: _Found, source: Path, kind: str, work: Path) -> Frames:
    await asyncio.to_thread(_make, work)
    total = await asyncio.to_thread(lambda: found.path.stat().st_size)
    status = (
        "validating GGUF model" if kind == COPY else f"quantizing {found.level} model to {kind}"
    )
    arguments = ("ollmlx.convert.quantise_gguf", str(source), str(work / "quantised"), kind)
    try:
        async with aclosing(progress(*arguments)) as lines:
            async for line in lines:
                done = total * line["done"] // line["of"]
                yield ProgressResponse(status, QUANTISED, total, done)
    except OllmlxError:
        # What llama.cpp says of a disk that is full now tells nobody.
        await asyncio.to_thread(check_room, work, _LEAST_ROOM)
        raise


def _side_by_side(found: _Found, work: Path) -> Path:
    """Links to the parts by the names that llama.cpp finds them under; the first."""
    links = [work / name.rpartition("/")[2] for name in found.parts]
    for path, target in zip(found.parts.values(), links, strict=True):
        link(path, target)
    return links[0]


async def _write(work: Path, write: Callable[[], None]) -> None:
    """Raises `CannotStore`."""

    def stored() -> None:
        _make(work)
        with storing(work):
            write()

    await asyncio.to_thread(stored)


def _make(work: Path) -> None:
    with storing(work):
        work.mkdir(exist_ok=True)


async def _replace(making: Making, found: _Found, result: Path) -> None:
    blob = await asyncio.to_thread(making.shelf.blobs.adopt, result)
    making.replace_weights(found.path, blob)
