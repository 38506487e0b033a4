"""A folder of safetensors quantised by mlx-lm, or only loaded, to prove that it can be.

Runs as a process: `python -m ollmlx.convert.quantise_mlx SOURCE [TARGET RECIPE]`.
"""

from collections.abc import Callable
from contextlib import redirect_stdout
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
from ollmlx.engine.mlx_folder import REFUSALS, lazy_model, read_config
from ollmlx.errors import OllmlxError
from ollmlx.store.changes import link, weight_files
from ollmlx.store.details import config_number
from ollmlx.store.safetensors import read_shard

_STEPS = 50


def convert(source: Path, target: Path, name: str, heard: Callable[[float], None]) -> None:
    """Write the folder `target`, which is empty.  Raises `NotConvertible`.

    `heard` is told which fraction is done.
    """
    wanted = recipe(name)
    original = _believable(source)
    if "quantization" in original or "quantization_config" in original:
        raise OllmlxError("quantization is only supported for F16, BF16 and F32 models")
    try:
        model, config = lazy_model(source, original)
        if wanted.dtype:
            _cast(model, getattr(mx, wanted.dtype))
        if wanted.bits:
            model, config = _quantised(model, config, wanted)
        _evaluate(model, heard)
        save_model(target, model, donate_model=True)
        # As it was written, not as the loader filled it in.
        changed = {key: config[key] for key in config if key.startswith("quantization")}
        dtype = {"torch_dtype": wanted.dtype} if wanted.dtype else {}
        save_config({**original, **changed, **dtype}, target / "config.json")
    except REFUSALS as error:
        raise NotConvertible(f"unable to quantise {source.name}: {error}") from error
    for path in weight_files(source):
        if path.suffix != ".safetensors" and not _written(path):
            link(path, target / path.relative_to(source))


def _written(path: Path) -> bool:
    return path.name == "config.json" or path.name.endswith(".safetensors.index.json")


def _cast(model: nn.Module, dtype: Any) -> None:
    keep = getattr(model, "cast_predicate", lambda _: True)

    def cast(name: str, array: Any) -> Any:
        if keep(name) and mx.issubdtype(array.dtype, mx.floating):
            return array.astype(dtype)
        return array

    model.update(tree_map_with_path(cast, model.parameters()))


def _quantised(model: nn.Module, config: dict[str, Any], wanted: Recipe) -> Any:
    mixture = None
    if wanted.mixed:
        mixture = mixed_quant_predicate_builder(wanted.mixed, model, wanted.group)
    with redirect_stdout(StringIO()):  # it prints the bits per weight
        return quantize_model(
            model,
            config,
            wanted.group,
            wanted.bits,
            mode=wanted.mode,
            quant_predicate=mixture,
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
        lazy_model(folder, config)
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
