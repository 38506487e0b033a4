"""A folder of safetensors quantised by mlx-lm, or only loaded, to prove that it can be.

Runs as a process: `python -m ollmlx.convert.quantise_mlx SOURCE [TARGET RECIPE]`.  What a model
sees through stays as it is: it is small, and the text suffers from what it blurs.
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.convert import mixed_quant_predicate_builder
from mlx_lm.utils import quantize_model, save_config, save_model

from ollmlx.convert.recipes import Recipe, recipe
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.subprocesses import child, tell
from ollmlx.engine.mlx.folder import REFUSALS, lazy_whole, read_config, sees
from ollmlx.errors import OllmlxError, Unavailable
from ollmlx.store.changes import link_others
from ollmlx.store.details import config_number
from ollmlx.store.safetensors import read_shard

_STEPS = 50
_TEXT = "language_model."
"""What mlx-vlm calls the part of a model that reads text; the rest is for pictures."""
_HEAD, _EMBEDDINGS = f"{_TEXT}lm_head", f"{_TEXT}model.embed_tokens"
_BLIND = (
    "without mlx-vlm, quantising would lose what this model sees through: "
    "pip install 'ollmlx[vision]'"
)


def convert(source: Path, target: Path, name: str, heard: Callable[[float], None]) -> None:
    """Write the folder `target`, which is empty.  Raises `NotConvertible`.

    `heard` is told which fraction is done.
    """
    wanted = recipe(name)
    original = _believable(source)
    if "quantization" in original or "quantization_config" in original:
        raise OllmlxError("quantization is only supported for F16, BF16 and F32 models")
    try:
        seeing = sees(source, original)
        if seeing and find_spec("mlx_vlm") is None:
            raise Unavailable(_BLIND)
        model, config = lazy_whole(source, original)
        text = _TEXT if seeing else ""
        if wanted.dtype:
            _cast(model, getattr(mx, wanted.dtype), text)
        if wanted.bits:
            model, config = _quantised(model, config, wanted, text)
        _evaluate(model, heard)
        save_model(target, model, donate_model=True)
        # As it was written, not as the loader filled it in.
        changed = {key: config[key] for key in config if key.startswith("quantization")}
        dtype = {"torch_dtype": wanted.dtype} if wanted.dtype else {}
        settings = {**original, **changed, **dtype}
        save_config(settings, target / "config.json", keep_vision_config=seeing)
    except REFUSALS as error:
        raise NotConvertible(f"unable to quantise {source.name}: {error}") from error
    link_others(source, target)


def _cast(model: nn.Module, dtype: Any, text: str) -> None:
    wide = getattr(model, "cast_predicate", lambda _: True)

    def cast(name: str, array: Any) -> Any:
        if name.startswith(text) and wide(name) and mx.issubdtype(array.dtype, mx.floating):
            return array.astype(dtype)
        return array

    model.update(tree_map_with_path(cast, model.parameters()))


def _quantised(model: nn.Module, config: dict[str, Any], wanted: Recipe, text: str) -> Any:
    reader = model.language_model if text else model
    choice = getattr(model, "quant_predicate", None)
    if wanted.mixed:
        choice = mixed_quant_predicate_builder(wanted.mixed, reader, wanted.group)

    def chosen(path: str, module: nn.Module) -> Any:
        if text and path == _HEAD and config["model_type"] == "gemma3":
            path = _EMBEDDINGS  # mlx-vlm makes the one of the other whenever it reads the model
        return path.startswith(text) and (not choice or choice(path.removeprefix(text), module))

    with redirect_stdout(StringIO()):  # it prints the bits per weight
        return quantize_model(
            model,
            config,
            wanted.group,
            wanted.bits,
            mode=wanted.mode,
            quant_predicate=chosen,
        )


def _evaluate(model: nn.Module, heard: Callable[[float], None]) -> None:
    arrays = [array for _, array in tree_flatten(model.parameters())]
    step = max(1, len(arrays) // _STEPS)
    for start in range(0, len(arrays), step):
        mx.eval(arrays[start : start + step])
        heard(min(1.0, (start + step) / len(arrays)))


def _believable(folder: Path) -> dict[str, Any]:
    """The configuration; layers that are not there cost time and memory before mlx-lm sees it."""
    config = read_config(folder)
    tensors = sum(len(read_shard(path).tensors) for path in folder.glob("*.safetensors"))
    if config_number(config, "num_hidden_layers", "n_layer", "num_layers") > tensors:
        raise NotConvertible(f"config.json tells of more layers than {tensors} tensors can be")
    return config


def check(folder: Path) -> None:
    """Raises `NotConvertible` for weights that mlx-lm cannot make a model of."""
    config = _believable(folder)
    try:
        lazy_whole(folder, config)
    except REFUSALS as error:
        raise NotConvertible(f"unable to load {folder.name}: {error}") from error


def work(arguments: list[str]) -> None:
    source = Path(arguments[0])
    if len(arguments) == 1:
        check(source)
    else:
        convert(source, Path(arguments[1]), arguments[2], lambda done: tell(done=done, of=1))


if __name__ == "__main__":
    child(work)
