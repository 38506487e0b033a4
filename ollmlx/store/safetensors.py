"""Headers of safetensors files: what tensors there are, without reading any.

Source: https://huggingface.co/docs/safetensors.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ollmlx.store.documents import BadDocument, parse_object

_GROUP_SIZES = (16, 32, 64, 128)
_LONGEST_HEADER = 100_000_000  # the format's own limit


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    data_offsets: tuple[int, int]


@dataclass(frozen=True)
class Shard:
    """One safetensors file."""

    tensors: Mapping[str, tuple[str, list[int]]]
    """Name → type as the file spells it (`BF16`, `U32`), shape."""

    @property
    def dtype(self) -> str:
        """The type of most elements that are not packed."""
        sizes: Counter[str] = Counter()
        for kind, shape in self.tensors.values():
            if kind not in ("U32", "U8"):
                sizes[kind] += prod(shape)
        return sizes.most_common(1)[0][0] if sizes else ""

    def parameter_count(self, quantization: Mapping[str, Any]) -> int:
        """Weights as the network has them, given `quantization` of an MLX config.json.

        A packed layer is counted by its scales, each of which stands for a group of weights.
        """
        return sum(self._elements(name, quantization) for name in self.tensors)

    def _elements(self, name: str, quantization: Mapping[str, Any]) -> int:
        kind, shape = self.tensors[name]
        layer, _, part = name.rpartition(".")
        if part == "scales":
            return prod(shape) * _group_size(layer, quantization)
        packed = part == "weight" and kind == "U32"
        return 0 if packed or part == "biases" else prod(shape)


def _group_size(layer: str, quantization: Mapping[str, Any]) -> int:
    own = quantization.get(layer)
    size = (own if isinstance(own, dict) else quantization).get("group_size")
    return int(size) if size in _GROUP_SIZES else 64


def read_shard(path: Path) -> Shard:
    """Raises `BadDocument` when the header is damaged or the file is cut short, or `OSError`."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        end = file.seek(0, 2)
        if not 2 <= length <= min(_LONGEST_HEADER, end - 8):
            raise BadDocument(f"{path}: not a safetensors file, or one that was cut short")
        file.seek(8)
        header = parse_object(file.read(length), path)
    header.pop("__metadata__", None)
    try:
        entries = msgspec.convert(header, dict[str, _Entry])
    except msgspec.ValidationError as error:
        raise BadDocument(f"{path}: a damaged safetensors header: {error}") from error
    for name, entry in entries.items():
        # No type is under four bits, so a shape above that is a lie.
        if entry.data_offsets[1] > end - 8 - length or prod(entry.shape) > 2 * end:
            raise BadDocument(f"{path}: the file is cut short: {name} is not all there")
    return Shard({name: (entry.dtype, entry.shape) for name, entry in entries.items()})
