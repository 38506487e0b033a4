"""GGUF tensors as MLX parameters: repacked where MLX has the form, else cast or requantised."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from ollmlx.convert import blocks
from ollmlx.convert.architectures import Architecture
from ollmlx.convert.decoder import Config
from ollmlx.convert.parameters import Parameter
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.shards import Shards
from ollmlx.gguf import GgufTensor

Array = NDArray[Any]
Quantisation = tuple[int, str]
"""Bits and MLX's mode."""
Packing = Callable[[blocks.Bytes, str], dict[str, Array]]
"""From rows and their type to `weight`, `scales` and, in affine mode, `biases`."""

STRETCH = 1 << 26
"""Weights turned at a time: a quarter of a gigabyte as float32."""


@dataclass
class Weights:
    """Converts one tensor after the other into shards, and remembers how each was stored."""

    architecture: Architecture
    config: Config
    dtype: str
    shards: Shards
    quantised: dict[str, Quantisation] = field(default_factory=dict)
    """Of each module whose weight is packed."""
    requantised: dict[str, str] = field(default_factory=dict)
    """Tensors that lost precision, with the type they had."""

    def add(self, name: str, tensor: GgufTensor, parameter: Parameter) -> None:
        shape = parameter.shape
        if prod(tensor.shape) != prod(shape):
            raise NotConvertible(f"{tensor.name} is {tensor.shape}, and MLX expects {shape}")
        form = packing(tensor) if parameter.packs and tensor.shape == shape else None
        if form is None:
            self._add_dense(name, tensor, shape)
        else:
            self._add_packed(name.removesuffix(".weight"), tensor, *form)

    def _add_packed(
        self, module: str, tensor: GgufTensor, pack: Packing, quantisation: Quantisation
    ) -> None:
        stretches = [pack(data, tensor.type) for data in _stretches(tensor)]
        arrays = {}
        for part in stretches[0]:
            whole = np.concatenate([stretch[part] for stretch in stretches])
            arrays[f"{module}.{part}"] = self._stored(tensor, self._transformed(tensor, whole))
        self.shards.add(arrays)
        self.quantised[module] = quantisation
        if pack is _requantised:
            self.requantised[tensor.name] = tensor.type

    def _add_dense(self, parameter: str, tensor: GgufTensor, shape: tuple[int, ...]) -> None:
        numbers = [blocks.dequantise(data, tensor.type) for data in _stretches(tensor)]
        array = self._transformed(tensor, np.concatenate(numbers))
        self.shards.add({parameter: self._stored(tensor, array.reshape(shape))})

    def _transformed(self, tensor: GgufTensor, array: Array) -> Array:
        array = array.reshape(*tensor.shape[:-1], -1)
        for transform in self.architecture.transforms:
            array = transform(self.config, tensor.name, array)
        return array

    def _stored(self, tensor: GgufTensor, array: Array) -> Any:
        """Words and exponents as they are, numbers in the model's type."""
        stored = mx.array(np.ascontiguousarray(array))
        if array.dtype != np.float32:
            return stored
        cast = stored.astype(getattr(mx, self.dtype))
        if not mx.isfinite(cast).all().item():
            raise NotConvertible(
                f"{tensor.name} holds values that are no numbers or do not fit {self.dtype}"
            )
        return cast


def packing(tensor: GgufTensor) -> tuple[Packing, Quantisation] | None:
    """How to pack a tensor, and the form that gives; None where it stays dense."""
    if len(tensor.shape) < 2 or tensor.shape[-1] % blocks.GROUP:
        return None
    if form := blocks.FORMS.get(tensor.type):
        return _repacked, (form.bits, form.mode)
    if bits := blocks.REQUANTISED.get(tensor.type):
        return _requantised, (bits, "affine")
    return None


def stored_bytes(tensor: GgufTensor, number_bytes: int) -> int:
    """About what a tensor takes when it is stored with numbers of that width."""
    count = prod(tensor.shape)
    if (form := packing(tensor)) is None:
        return count * number_bytes
    return count * form[1][0] // 8 + 2 * number_bytes * count // blocks.GROUP


def _repacked(data: blocks.Bytes, kind: str) -> dict[str, Array]:
    codes = blocks.codes(data, kind)
    words = blocks.pack(codes.values, blocks.FORMS[kind].bits)
    arrays: dict[str, Array] = {"weight": words, "scales": codes.scales}
    return arrays if codes.biases is None else arrays | {"biases": codes.biases}


def _requantised(data: blocks.Bytes, kind: str) -> dict[str, Array]:
    numbers = mx.array(blocks.dequantise(data, kind))
    bits = blocks.REQUANTISED[kind]
    parts = mx.quantize(numbers, group_size=blocks.GROUP, bits=bits)
    names = ("weight", "scales", "biases")
    return {name: np.array(part) for name, part in zip(names, parts, strict=True)}


def _stretches(tensor: GgufTensor) -> Iterator[blocks.Bytes]:
    """The tensor as rows, (rows, bytes a row), a bounded number at a time."""
    data = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, STRETCH // tensor.shape[-1])
    for start in range(0, len(data), step):
        yield data[start : start + step]


def quantisation(quantised: dict[str, Quantisation]) -> Config:
    """`config.json` on packed weights: the commonest form, and each module that has another."""
    common = Counter(quantised.values()).most_common(1)[0][0]
    others = {module: _entry(form) for module, form in quantised.items() if form != common}
    return _entry(common) | others


def _entry(form: Quantisation) -> Config:
    return {"group_size": blocks.GROUP, "bits": form[0], "mode": form[1]}
