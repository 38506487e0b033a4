"""A LoRA adapter as the library PEFT saves it: two small matrices for each module it adapts, with
DoRA the magnitudes of its rows too.

Source: https://huggingface.co/docs/peft/developer_guides/checkpoint.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ollmlx.convert.blocks import Floats
from ollmlx.convert.refusals import NotConvertible
from ollmlx.store.documents import read_object
from ollmlx.store.safetensors import read_numbers

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_NAME = re.compile(
    r"base_model\.model\.(.+)\.lora_(?:([AB])(?:\.\w+)?\.weight|magnitude_vector(?:\.weight)?)"
)
_LAYER = re.compile(r".*?\blayers\.(\d+)\.(.+)")
_UNHEARD = ("modules_to_save", "alpha_pattern", "rank_pattern", "fan_in_fan_out")
"""Settings that change what the matrices mean, or add others."""
_MAGNITUDE = "magnitude"


@dataclass(frozen=True)
class Adapted:
    """What is told of one module."""

    module: str
    a: Floats
    """[rank, inputs]"""
    b: Floats
    """[outputs, rank]"""
    magnitude: Floats | None
    """[outputs]: the norms that the adapted rows are to have, of DoRA."""


@dataclass(frozen=True)
class Peft:
    folder: Path
    rank: int
    alpha: float
    """As llama.cpp takes it: the adapter counts `alpha / rank`."""
    dora: bool

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def modules(self) -> Iterator[Adapted]:
        """Raises `NotConvertible`, `BadDocument` or `OSError`."""
        found: dict[str, dict[str, Floats]] = {}
        for name, numbers in read_numbers(self.folder / WEIGHTS):
            match = _NAME.fullmatch(name)
            if match is None or not _LAYER.fullmatch(match[1]):
                raise NotConvertible(f"the adapter holds {name}: only LoRA of layers is supported")
            found.setdefault(match[1], {})[match[2] or _MAGNITUDE] = numbers
        for module, parts in found.items():
            yield self._adapted(module, parts)

    def _adapted(self, module: str, parts: dict[str, Floats]) -> Adapted:
        if set(parts) != {"A", "B", _MAGNITUDE} - ({_MAGNITUDE} if not self.dora else set()):
            raise NotConvertible(f"the adapter of {module} is not whole")
        a, b, magnitude = parts["A"], parts["B"], parts.get(_MAGNITUDE)
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != self.rank or b.shape[1] != self.rank:
            raise NotConvertible(f"the adapter of {module} is not of rank {self.rank}")
        if magnitude is not None and magnitude.size != len(b):
            raise NotConvertible(f"the adapter of {module} has {magnitude.size} magnitudes")
        return Adapted(module, a, b, None if magnitude is None else magnitude.reshape(-1))


def read(folder: Path) -> Peft:
    """Raises `NotConvertible`, `BadDocument` or `OSError`."""
    config = read_object(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise NotConvertible(f"an adapter of type {config.get('peft_type')} cannot be converted")
    for setting in _UNHEARD:
        if config.get(setting):
            raise NotConvertible(f"an adapter with {setting} cannot be converted")
    if not (folder / WEIGHTS).is_file():
        raise NotConvertible(f"the adapter has no {WEIGHTS}")
    rank, alpha = _positive(config, "r"), _positive(config, "lora_alpha")
    scaled = alpha * math.sqrt(rank) if config.get("use_rslora") else alpha
    return Peft(folder, int(rank), scaled, bool(config.get("use_dora")))


def in_layer(module: str) -> str:
    """`self_attn.q_proj` of `model.layers.3.self_attn.q_proj`."""
    match = _LAYER.fullmatch(module)
    assert match, "`modules` gives only such modules"
    return match[2]


def _positive(config: dict[str, Any], key: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 20:
        raise NotConvertible(f"the adapter's {key} is {value!r}")
    return float(value)
