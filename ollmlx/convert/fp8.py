"""A folder whose weights are 8-bit floats with scales beside them, as plain bfloat16.

Runs as a process: `python -m ollmlx.convert.fp8 SOURCE TARGET`.  mlx-lm reads such weights for a
few architectures only.
Source: `weight_block_size` in https://huggingface.co/docs/transformers/quantization/finegrained_fp8,
and the FP8 of https://github.com/vllm-project/compressed-tensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.subprocesses import child, tell
from ollmlx.store.changes import link_others
from ollmlx.store.documents import read_object
from ollmlx.store.safetensors import EIGHT_BITS, SCALES, read_shard

_OF_ACTIVATIONS = (".input_scale", ".activation_scale", ".output_scale", ".k_scale", ".v_scale")
_EXPONENTS = "F8_E8M0"
_BIAS = 127


def write(source: Path, target: Path) -> None:
    """Raises `NotConvertible`, `BadDocument` or `OSError`."""
    config = read_object(source / "config.json")
    recipe = config.pop("quantization_config", None)
    block = recipe.get("weight_block_size") if isinstance(recipe, dict) else None
    target.mkdir()
    (target / "config.json").write_text(json.dumps(config))
    shards = sorted(source.glob("*.safetensors"))
    scales = {name: scale for path in shards for name, scale in _scales(path).items()}
    for number, path in enumerate(shards):
        _write_shard(path, target / path.name, scales, block)
        tell(done=number + 1, of=len(shards))
    link_others(source, target)


def _scales(path: Path) -> dict[str, Any]:
    """Scales by their names, those that are bare exponents as numbers."""
    kinds = read_shard(path).tensors
    found = {}
    for name, array in _loaded(path).items():
        if name.endswith(SCALES):
            bare = kinds[name][0] == _EXPONENTS
            found[name] = mx.power(2.0, array.astype(mx.float32) - _BIAS) if bare else array
    return found


def _loaded(path: Path) -> dict[str, Any]:
    try:
        arrays: Any = mx.load(str(path))
    except (RuntimeError, ValueError) as error:
        raise NotConvertible(f"unable to read {path.name}: {error}") from error
    return dict(arrays)


def _write_shard(path: Path, target: Path, scales: Mapping[str, Any], block: Any) -> None:
    kinds = read_shard(path).tensors
    plain = {}
    for name, array in _loaded(path).items():
        if name.endswith((*SCALES, *_OF_ACTIVATIONS)):
            continue
        eight = kinds[name][0] == EIGHT_BITS
        plain[name] = _multiplied(name, array, scales, block) if eight else array
    mx.save_safetensors(str(target), plain, {"format": "mlx"})


def _multiplied(name: str, weight: Any, scales: Mapping[str, Any], block: Any) -> Any:
    scale = next((scales[name + end] for end in SCALES if name + end in scales), None)
    if scale is None:
        raise NotConvertible(f"the 8-bit tensor {name} has no scales beside it")
    numbers = mx.from_fp8(weight, dtype=mx.float32)
    return (numbers * _spread(name, scale.astype(mx.float32), weight.shape, block)).astype(
        mx.bfloat16
    )


def _spread(name: str, scale: Any, shape: tuple[int, ...], block: Any) -> Any:
    """The scales in a shape that can be multiplied with weights of `shape`.

    There is one for the whole tensor, one a row, or one a block of rows and columns.
    """
    if scale.size == 1:
        return scale.reshape(())
    if scale.shape in (shape[:-1], (*shape[:-1], 1)):
        return scale.reshape(*shape[:-1], 1)
    rows, columns = shape[-2:]
    tall, wide = block if _is_block(block) else (rows, columns)
    if scale.shape != (*shape[:-2], -(-rows // tall), -(-columns // wide)):
        raise NotConvertible(f"the scales of {name} are of shape {scale.shape}, its blocks {block}")
    down = mx.repeat(scale, tall, axis=-2)[..., :rows, :]
    return mx.repeat(down, wide, axis=-1)[..., :columns]


def _is_block(block: Any) -> bool:
    """Whether it is what config.json should have: rows and columns."""
    sides = block if isinstance(block, list) else []
    return len(sides) == 2 and all(isinstance(side, int) and side > 0 for side in sides)


if __name__ == "__main__":
    child(lambda arguments: write(Path(arguments[0]), Path(arguments[1])))
