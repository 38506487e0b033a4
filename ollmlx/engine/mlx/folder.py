"""A folder of MLX or Hugging Face weights → one of mlx-lm's models, its weights in memory.

Never runs code out of the folder.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import mlx.core as mx
import mlx.nn as nn
import msgspec
from mlx.utils import tree_flatten
from mlx_lm.utils import MODEL_REMAPPING, load_adapters, load_model

from ollmlx import sight
from ollmlx.engine.backend import Report
from ollmlx.engine.fit import explained
from ollmlx.engine.mlx.dora import settle
from ollmlx.errors import LoadFailed

# What MLX and mlx-lm raise for a bad file, a bad config, a missing tensor and too little memory.
REFUSALS = (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError)
# What they choke on besides where a setting is not what it should be.
_CHOKED = (AttributeError, ArithmeticError, AssertionError, IndexError)

Lazy = Callable[[Path, dict[str, Any]], tuple[nn.Module, dict[str, Any]]]
"""Opens a folder by its configuration: `lazy_model`, or another library's."""

_LIMITS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx")


class _Text(msgspec.Struct):
    """Settings that are read here, in whichever file they stand."""

    model_type: str = ""
    eos_token_id: int | list[int] | None = None


class _Settings(_Text):
    quantization: dict[str, Any] | None = None
    text_config: _Text | None = None
    bos_token: str | dict[str, Any] | None = None
    eos_token: str | dict[str, Any] | None = None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file, empty where there is none.  Raises `LoadFailed` for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LoadFailed(f"unable to read {path}: {error}") from error
    if not isinstance(value, dict):
        raise LoadFailed(f"unable to read {path}: not a JSON object")
    try:
        msgspec.convert(value, _Settings)
    except msgspec.ValidationError as error:
        raise LoadFailed(f"unable to read {path}: {error}") from error
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`, after what can be checked without touching the weights."""
    if not folder.is_dir():
        raise LoadFailed(f"{folder} is not a folder with an MLX model")
    config = read_json(folder / "config.json")
    if not config:
        raise LoadFailed(f"{folder} is not an MLX model: it has no config.json")
    if "model_type" not in config:
        raise LoadFailed(f"{folder} is not an MLX model: its config.json names no model_type")
    if not any(folder.glob("model*.safetensors")):
        raise LoadFailed(f"{folder} has no weights: there is no model*.safetensors in it")
    return config


def has_eyes(folder: Path) -> bool:
    """Whether what the model sees through is there.  Raises `LoadFailed` for a damaged file."""
    try:
        shards = [
            dict(mx.load(str(file)))  # type: ignore[arg-type]  # of these a dict, nothing read
            for file in folder.glob("model*.safetensors")
        ]
    except REFUSALS as error:
        raise LoadFailed(f"unable to load model {folder}: {error}") from error
    return sight.whole(folder, itertools.chain(*shards))


def context_limit(config: dict[str, Any]) -> int | None:
    """Tokens the model was made for, where its config says."""
    for part in (config, config.get("text_config") or {}):
        for key in _LIMITS:
            if isinstance(part.get(key), int) and part[key] > 0:
                return int(part[key])
    return None


def lazy_model(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """The model with no weights read yet, and its whole configuration.  Raises `REFUSALS`."""
    model, whole = load_model(folder, lazy=True, model_config=rope_fix(config))
    return model, whole


def sees(folder: Path, config: dict[str, Any]) -> bool:
    """Whether this is a model to show pictures to.  Raises `LoadFailed` for a damaged file."""
    return sight.known(config) and has_eyes(folder)


def lazy_whole(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """As `lazy_model`, with what the model sees through, where that is there and mlx-vlm too."""
    if find_spec("mlx_vlm") is None or not sees(folder, config):
        return lazy_model(folder, config)
    from ollmlx.engine.mlx import seeing

    return seeing.lazy_model(folder, config)


def load_weights(
    folder: Path,
    config: dict[str, Any],
    adapters: tuple[str, ...],
    report: Report,
    lazy: Lazy = lazy_model,
) -> nn.Module:
    """The model with all its weights in memory.  Raises `LoadFailed` saying what is wrong."""
    try:
        model, _ = lazy(folder, config)
        for adapter in _checked(adapters):
            model = load_adapters(model, adapter)
            settle(model)
        if mx.default_device() == mx.cpu:
            # Half precision is emulated on x86: 6 (bfloat16) to 35 (float16) times slower.
            model.set_dtype(mx.float32)
        model.eval()
        _materialise(model, report)
    except (*REFUSALS, *_CHOKED) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else explained(str(error))
        if isinstance(error, _CHOKED):
            why = f"a setting in its config.json is wrong: {error!r}"
        raise LoadFailed(f"unable to load model {folder}: {why}{amiss(config)}") from error
    return model


def amiss(config: dict[str, Any]) -> str:
    """To be said behind what a library choked on: which settings are not what mlx-lm's class for
    them wants.  Libraries are lax, so one that is amiss may work.
    """
    text = config.get("text_config") or {}
    found = [*_amiss(config, ""), *_amiss(text, "text_config.")]
    return f" (in config.json: {'; '.join(found)})" if found else ""


def _amiss(config: dict[str, Any], prefix: str) -> Iterator[str]:
    kind = config.get("model_type", "")
    try:
        arguments = import_module(f"mlx_lm.models.{MODEL_REMAPPING.get(kind, kind)}").ModelArgs
    except (ImportError, AttributeError):
        return  # it is mlx-vlm's
    for name, wanted in get_type_hints(arguments).items():
        default = getattr(arguments, name, msgspec.UNSET)
        if (value := config.get(name, default)) is default:
            continue
        try:
            msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            if " - at " not in str(error):  # of what lies deeper, annotations tell less
                yield f"{prefix}{name}: {error}"
        except TypeError:
            pass  # an annotation that msgspec does not know


def _checked(adapters: tuple[str, ...]) -> tuple[str, ...]:
    """mlx-lm puts one adapter into a model, in its own format."""
    if len(adapters) > 1:
        raise LoadFailed("an MLX model takes one adapter, not several")
    for adapter in adapters:
        if "lora_parameters" not in read_json(Path(adapter) / "adapter_config.json"):
            raise LoadFailed(f"{adapter} is not an adapter of mlx-lm (no lora_parameters in it)")
    return adapters


def _materialise(model: nn.Module, report: Report) -> None:
    """Read the weights in, about a fiftieth at a time."""
    arrays = [array for _, array in tree_flatten(model.parameters())]
    total = sum(array.nbytes for array in arrays)
    batch, done, reported = [], 0, 0
    for array in arrays:
        batch.append(array)
        done += array.nbytes
        if (done - reported) * 50 >= total or array is arrays[-1]:
            mx.eval(batch)
            batch, reported = [], done
            report(0.95 * done / total)


def rope_fix(config: dict[str, Any]) -> dict[str, Any]:
    """What transformers ≥ 5 saves as `rope_parameters`, where most of mlx-lm 0.32's models look.

    Without it they run on default frequencies, or fail.  May go once mlx-lm reads the new key.
    """
    fixed = _rope(config)
    text = config.get("text_config")
    if isinstance(text, dict) and (rope := _rope(text)):
        fixed["text_config"] = {**text, **rope}
    return fixed


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict):
        return {}
    found: dict[str, Any] = {}
    if isinstance(local := rope.get("sliding_attention"), dict):  # Gemma: a set a kind of layer
        found["rope_local_base_freq"] = local.get("rope_theta")
    if isinstance(full := rope.get("full_attention"), dict):
        rope = full
    for key in ("rope_theta", "partial_rotary_factor"):
        found[key] = rope.get(key)
    if (kind := rope.get("rope_type", "default")) != "default" or "mrope_section" in rope:
        found["rope_scaling"] = {**rope, "type": kind}
    return {k: v for k, v in found.items() if v is not None and config.get(k) is None}
