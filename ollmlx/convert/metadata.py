"""What a GGUF says about its model, checked: a missing or senseless value is named and refused."""

import math
from collections.abc import Sequence
from typing import Any

from ollmlx.convert.blocks import Floats, dequantise
from ollmlx.convert.refusals import NotConvertible
from ollmlx.gguf import Gguf


class Metadata:
    """Metadata below `<architecture>.` and the shapes of the tensors."""

    def __init__(self, gguf: Gguf) -> None:
        self._gguf = gguf
        self.tensors = gguf.tensors

    def has(self, tensor: str) -> bool:
        return tensor in self.tensors

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self._gguf.key(name, default))

    def text(self, name: str) -> str | None:
        value = self._gguf.key(name)
        return None if value is None else str(value)

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number above 0; where the file has one a layer, the one they agree on."""
        values = set(self.integers(name, default))
        if len(values) != 1:
            raise NotConvertible(f"{name} differs between the layers: {sorted(values)}")
        return self._positive(name, values.pop())

    def count(self, name: str) -> int:
        """A whole number, 0 when the file does not have it."""
        value = self._gguf.key(name, 0)
        if not _whole(value) or value < 0:
            raise NotConvertible(f"{name} is {value!r}: not a count")
        return int(value)

    def integers(self, name: str, default: int | None = None) -> list[int]:
        """One number a layer, or just one."""
        value = self._value(name, default)
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if not values or not all(_whole(each) for each in values):
            raise NotConvertible(f"{name} is {value!r}: not a whole number")
        return [int(each) for each in values]

    def per_layer(self, name: str, layers: int) -> list[int]:
        """Exactly one number a layer."""
        values = self.integers(name)
        if len(values) == 1:
            return values * layers
        if len(values) < layers:
            raise NotConvertible(f"{name} has {len(values)} values for {layers} layers")
        return values[:layers]

    def real(self, name: str, default: float | None = None) -> float:
        """A number, to the seven digits that a float32 has."""
        value = self._value(name, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise NotConvertible(f"{name} is {value!r}: not a number")
        return float(f"{value:.7g}")

    def rows(self, tensor: str) -> int:
        return self._positive(f"{tensor} rows", int(self._tensor(tensor).shape[0]))

    def vector(self, tensor: str) -> Floats:
        """A one-dimensional tensor as numbers."""
        found = self._tensor(tensor)
        numbers: Floats = dequantise(found.data.reshape(1, -1), found.type)[0]
        return numbers

    @property
    def layers(self) -> int:
        """Blocks of the model; bounded by the tensors, so that a forged number costs no memory."""
        count = self.integer("block_count")
        if count > len(self.tensors):
            raise NotConvertible(f"block_count is {count}, with {len(self.tensors)} tensors")
        return count

    def _tensor(self, name: str) -> Any:
        if name not in self.tensors:
            raise NotConvertible(f"the file has no tensor {name}")
        return self.tensors[name]

    def _value(self, name: str, default: Any) -> Any:
        value = self._gguf.key(name)
        value = default if value is None else value
        if value is None:
            raise NotConvertible(f"the file has no {self._gguf.arch}.{name}")
        return value

    def _positive(self, name: str, value: int) -> int:
        if not 0 < value < 2**31:
            raise NotConvertible(f"{name} is {value}: out of range")
        return value


def _whole(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
