"""A LoRA adapter as the library PEFT saves it: two small matrices for each layer it adapts.

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
_NAME = re.compile(r"base_model\.model\.(.+)\.lora_([AB])(?:\.\w+)?\.weight")
_LAYER = re.compile(r".*?\blayers\.(\d+)\.(.+)")
_UNHEARD = ("use_dora", "modules_to_save", "alpha_pattern", "rank_pattern", "fan_in_fan_out")
"""Settings that change what the matrices mean, or add others."""


@dataclass(frozen=True)
class Peft:
    folder: Path
    rank: int
    alpha: float
    """As llama.cpp takes it: the adapter counts `alpha / rank`."""

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def pairs(self) -> Iterator[tuple[str, Floats, Floats]]:
        """The name of a module, A as (rank, inputs), B as (outputs, rank).

        Raises `NotConvertible`, `BadDocument` or `OSError`.
        """
        found: dict[str, dict[str, Floats]] = {}
        for name, numbers in read_numbers(self.folder / WEIGHTS):
            match = _NAME.fullmatch(name)
            if match is None or numbers.ndim != 2 or not _LAYER.fullmatch(match[1]):
                raise NotConvertible(f"the adapter holds {name}: only LoRA of layers is supported")
            found.setdefault(match[1], {})[match[2]] = numbers
        for module, pair in found.items():
            if set(pair) != {"A", "B"}:
                raise NotConvertible(f"the adapter of {module} is not whole")
            if pair["A"].shape[0] != self.rank or pair["B"].shape[1] != self.rank:
                raise NotConvertible(f"the adapter of {module} is not of rank {self.rank}")
            yield module, pair["A"], pair["B"]


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
    return Peft(folder, int(rank), alpha * math.sqrt(rank) if config.get("use_rslora") else alpha)


def in_layer(module: str) -> str:
    """`self_attn.q_proj` of `model.layers.3.self_attn.q_proj`."""
    match = _LAYER.fullmatch(module)
    assert match, "`pairs` gives only such modules"
    return match[2]


def _positive(config: dict[str, Any], key: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 20:
        raise NotConvertible(f"the adapter's {key} is {value!r}")
    return float(value)
