"""MLX models out of installed ones, as jobs: converted from GGUF, or quantised."""

import asyncio
from contextlib import aclosing
from functools import partial

from ollmlx import names
from ollmlx.api.changes import changes
from ollmlx.api.engine import Engine
from ollmlx.api.jobs import Begin, Sizes
from ollmlx.api.progress import Frames
from ollmlx.convert.recipes import recipe
from ollmlx.convert.subprocesses import progress
from ollmlx.errors import BadRequest, NotFound
from ollmlx.names import Name
from ollmlx.store.model import Model
from ollmlx.wire.live import JobRequest
from ollmlx.wire.native import ProgressResponse

CONVERTED = "converted"
"""In the place of a digest: the weights on their way from one form to the other."""
_STEPS = {
    "tokenizer": "converting the tokenizer",
    "weights": "converting the weights",
    "quantising": "quantising the weights",
    "saving": "writing the model",
}
_WHOLE = ("F32", "F16", "BF16", "unknown")


class NameTaken(BadRequest):
    """A model goes by the name that the new one is to have."""


def making(engine: Engine, request: JobRequest) -> tuple[Name, Begin]:
    """The model that a conversion makes, and how.  Raises `InvalidName` or `BadRequest`."""
    if not request.source:
        raise BadRequest("source is required: the model to convert")
    if request.quantize:
        recipe(request.quantize)
    name = names.parse(request.model or f"{request.source}-mlx")
    return name, partial(_converted, engine, request.source, name, request.quantize)


async def _converted(
    engine: Engine, source: str, name: Name, quantize: str, _sizes: Sizes
) -> Frames:
    yield ProgressResponse("looking at the model")
    model = await asyncio.to_thread(_source, engine, source, name, quantize)
    target = changes(engine).folder(name)
    passes = ["weights"] * (model.format == "gguf") + ["quantising"] * bool(quantize)
    size, done = model.size, 0
    lines = progress("ollmlx.convert", model.path, str(target), *([quantize] if quantize else []))
    async with aclosing(lines):
        async for line in lines:
            stage = line["stage"]
            if stage in passes:
                passed = passes.index(stage) + line["done"] / line["of"]
                done = int(size * passed / len(passes))
            # One bar for all stages: a digest is what tells bars apart.
            yield ProgressResponse(_STEPS.get(stage, stage), CONVERTED, size, done)
    yield ProgressResponse("success")


def _source(engine: Engine, source: str, name: Name, quantize: str) -> Model:
    """Raises `NotFound`, `NameTaken` or `BadRequest`."""
    model = engine.library.find(names.installed(source))
    if model.format not in ("gguf", "mlx"):
        raise BadRequest(f"{model.name} has no weights to convert")
    if model.format == "mlx" and not quantize:
        raise BadRequest(f"{model.name} is an MLX model already: say how to quantize it")
    if model.format == "gguf" and quantize and model.details.quantization_level not in _WHOLE:
        # The conversion itself says so only when it has written the whole model.
        raise BadRequest("quantization is only supported for F16, BF16 and F32 models")
    try:
        taken = engine.library.find(name.full)
    except NotFound:
        return model
    raise NameTaken(f"{taken.name} is there already: give the new model another name")
