"""Headers of safetensors files: what tensors there are, without reading any.

Source: https://huggingface.co/docs/safetensors.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from ollmlx.store.documents import BadDocument, decode

_GROUP_SIZES = (16, 32, 64, 128)
_WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}
EIGHT_BITS = "F8_E4M3"
SCALES = ("_scale_inv", "_scale")
"""What the name of a weight goes on with in that of its scales."""
# The format allows three times as much; real ones have a tenth of that.
_LONGEST_HEADER, _MOST_TENSORS = 1 << 25, 1 << 17


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

    @property
    def scaled(self) -> bool:
        """Whether weights are 8-bit floats, which mean something with their scales only."""
        return any(
            kind == EIGHT_BITS and not name.endswith(SCALES)
            for name, (kind, _) in self.tensors.items()
        )

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
    entries, _ = _entries(path)
    return Shard({name: (entry.dtype, entry.shape) for name, entry in entries.items()})


def read_numbers(path: Path) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Every tensor by its name, one in memory at a time.  Raises as `read_shard`, and for a type
    that is no float.
    """
    entries, start = _entries(path)
    data = np.memmap(path, np.uint8, "r")
    for name, entry in entries.items():
        first, last = entry.data_offsets
        width = _WIDTHS.get(entry.dtype)
        if width is None or first < 0 or last - first != prod(entry.shape) * width:
            raise BadDocument(f"{path}: {name} is no tensor of numbers")
        yield name, _floats(data[start + first : start + last], entry)


def _floats(data: npt.NDArray[np.uint8], entry: _Entry) -> npt.NDArray[np.float32]:
    if entry.dtype == "BF16":  # the upper half of a float32
        numbers = (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        numbers = data.view("<f2" if entry.dtype == "F16" else "<f4").astype(np.float32)
    return numbers.reshape(entry.shape)


def _entries(path: Path) -> tuple[dict[str, _Entry], int]:
    """What the header says, and where the data begins."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        end = file.seek(0, 2)
        if not 2 <= length <= min(_LONGEST_HEADER, end - 8):
            raise BadDocument(f"{path}: not a safetensors file, or one that was cut short")
        file.seek(8)
        header = decode(file.read(length), path, dict[str, msgspec.Raw])
    header.pop("__metadata__", None)
    if len(header) > _MOST_TENSORS:
        raise BadDocument(f"{path}: {len(header)} tensors are not believable")
    entries = {name: decode(bytes(raw), path, _Entry) for name, raw in header.items()}
    for name, entry in entries.items():
        # No type is under four bits, so a shape above that is a lie.
        if entry.data_offsets[1] > end - 8 - length or prod(entry.shape) > 2 * end:
            raise BadDocument(f"{path}: the file is cut short: {name} is not all there")
    return entries, 8 + length
