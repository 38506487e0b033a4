"""Create for MLX: a folder of safetensors, uploaded or of another model, with words beside it."""

import asyncio
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path

import msgspec

from ollmlx.api.creating.weights import QUANTISED
from ollmlx.api.progress import Frames
from ollmlx.convert.recipes import Recipe, recipe
from ollmlx.convert.subprocesses import progress
from ollmlx.convert.verification import difference
from ollmlx.errors import BadRequest, Unavailable
from ollmlx.names import Name
from ollmlx.store import details, words
from ollmlx.store.appearing import appearing
from ollmlx.store.changes import Changes, MissingBlob, lay_out, link, link_weights, weight_bytes
from ollmlx.store.documents import read_object
from ollmlx.store.model import Model
from ollmlx.store.ollama.workspace import workspace
from ollmlx.store.weights import folder_template, readers, stop_parameters
from ollmlx.store.words import Words
from ollmlx.wire.native import CreateRequest, ProgressResponse

_QUANTISE = "ollmlx.convert.quantise_mlx"
_PLAIN = "ollmlx.convert.fp8"
_EIGHT_BITS = "Q8_0"
ADAPTER = "adapter"


async def created(store: Changes, base: Model | None, request: CreateRequest, name: Name) -> Frames:
    """Raises `BadRequest`, `UnknownRecipe`, `NotConvertible`, `Unavailable`, `CannotStore` …"""
    _check(request)
    kind = request.quantize or request.quantization
    wanted = recipe(kind) if kind else None
    with workspace(store.root) as work:
        if base:
            source = Path(base.path)
        else:
            source = work / "source"
            yield ProgressResponse("converting model")
            if "config.json" not in request.files:
                raise MissingBlob(Path("config.json"))
            await asyncio.to_thread(lay_out, store, request.files, source)
        if (kind or not base) and await asyncio.to_thread(_scaled, source):
            # As Ollama: what was 8 bits wide does not become wider unless it is told to.
            wanted, kind = wanted or recipe(_EIGHT_BITS), kind or _EIGHT_BITS
            async with aclosing(progress(_PLAIN, str(source), str(work / "plain"))) as lines:
                async for _ in lines:
                    pass
            source = work / "plain"
        async with aclosing(_proved(source, work, wanted, kind, bool(base))) as frames:
            async for frame in frames:
                yield frame
        if wanted:
            source = work / "quantised"
        spoken = (await asyncio.to_thread(_inherited, base, source)).changed(request)
        adapter = Path(base.path, spoken.adapter) if base and spoken.adapter else None
        if request.adapters:
            yield ProgressResponse("converting adapter")
            adapter = await _adapter(store, request, work, source)
        yield ProgressResponse("writing manifest")
        await asyncio.to_thread(_appear, store, name, source, spoken, adapter)


def _check(request: CreateRequest) -> None:
    if request.draft_files:
        raise BadRequest("DRAFT is supported for GGUF models only")
    if find_spec("mlx_lm") is None:
        raise Unavailable("an MLX model needs MLX's engine: pip install 'ollmlx[mlx]'")


async def _proved(
    source: Path, work: Path, wanted: Recipe | None, kind: str, known: bool
) -> Frames:
    """Quantise the weights; or load them once, unless they are those of a model."""
    if wanted:
        has = await asyncio.to_thread(_type, source)
        status = f"quantizing {has} model to {kind.upper()}"
        total = await asyncio.to_thread(weight_bytes, source)
        arguments = (_QUANTISE, str(source), str(work / "quantised"), kind)
        async with aclosing(progress(*arguments)) as lines:
            async for line in lines:
                done = int(total * line["done"] / line["of"])
                yield ProgressResponse(status, QUANTISED, total, done)
        yield ProgressResponse("verifying conversion")
        if found := await difference(source, work / "quantised"):
            yield ProgressResponse(f"quantized model: {found}")
    elif not known:
        yield ProgressResponse("verifying conversion")
        async with aclosing(progress(_QUANTISE, str(source))) as lines:
            async for _ in lines:
                pass


def _scaled(source: Path) -> bool:
    """Whether weights are 8-bit floats, which mlx-lm reads in one form only: 32 by 32, packed."""
    stated = read_object(source / "config.json").get("quantization_config")
    block = stated.get("weight_block_size") if isinstance(stated, dict) else None
    if block == [32, 32]:
        return False
    return any(readers().shard(path).scaled for path in source.glob("*.safetensors"))


def _type(source: Path) -> str:
    """Of the weights, as `list` names it."""
    shards = [readers().shard(path) for path in sorted(source.glob("model*.safetensors"))]
    dtype = shards[0].dtype if shards else ""
    return details.of_config(read_object(source / "config.json"), 0, dtype).quantization_level


async def _adapter(store: Changes, request: CreateRequest, work: Path, model: Path) -> Path:
    """The uploaded adapter in mlx-lm's form, tried on the model.  Raises `BadRequest`."""
    source, target = work / "uploaded-adapter", work / ADAPTER
    await asyncio.to_thread(lay_out, store, request.adapters, source)
    arguments = ("ollmlx.convert.adapter_mlx", str(source), str(target), str(model))
    async with aclosing(progress(*arguments)) as lines:
        async for _ in lines:
            pass
    return target


def _inherited(base: Model | None, source: Path) -> Words:
    if base is None:
        return Words(parameters=stop_parameters(folder_template(source, readers())))
    inherited = words.of_model(base)
    return msgspec.structs.replace(inherited, adapter=words.in_folder(Path(base.path)).adapter)


def _appear(store: Changes, name: Name, source: Path, spoken: Words, adapter: Path | None) -> None:
    with appearing(store.folder(name), replace=True) as folder:
        link_weights(source, folder, without=ADAPTER)
        if adapter:
            for path in adapter.iterdir():
                link(path, folder / ADAPTER / path.name)
        spoken = msgspec.structs.replace(spoken, adapter=ADAPTER if adapter else "")
        spoken.write(folder)
    store.remove_manifest(name)
