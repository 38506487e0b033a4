"""A GGUF file: its metadata and its tensors, memory-mapped and never trusted.

Reads what llama.cpp reads: versions 2 and 3, little-endian.  Every count and length is checked
against the bytes that are there before anything is allocated for it, so a hostile or cut header
costs an error and not the process.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ollmlx.errors import LoadFailed

T = TypeVar("T")
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""GGML's number of a tensor type → its name, elements in a block, bytes in a block."""

_SCALARS = {
    0: "B",
    1: "b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_FLOAT, _TEXT, _ARRAY = 6, 8, 9
_LAYOUTS = {kind: struct.Struct(layout) for kind, layout in _SCALARS.items()}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

# Far above real models (262k tokens, 500k merges, 47k tensors), far below what fills memory.
_MOST_KEYS, _MOST_TENSORS, _MOST_ITEMS = 1 << 16, 1 << 17, 1 << 22
_LONGEST_TEXT, _LONGEST_HEADER = 1 << 24, 1 << 28
_MOST_DIMENSIONS = 4
_SHORT_ARRAY = 1 << 10
_MOST_ELEMENTS = 1 << 44


class BadGguf(LoadFailed):
    """The file is not a whole GGUF that can be read."""


@dataclass(frozen=True)
class TensorInfo:
    name: str
    type: str
    shape: tuple[int, ...]
    """Rows first, as numpy has it; the file has it the other way round."""
    offset: int
    """Bytes from the start of the file."""
    row_bytes: int
    """Bytes of one row, that is of the last dimension; 0 for a type this version does not know."""

    @property
    def size(self) -> int:
        return prod(self.shape[:-1]) * self.row_bytes


@dataclass(frozen=True)
class GgufTensor:
    name: str
    type: str
    shape: tuple[int, ...]
    """Rows first."""
    data: npt.NDArray[np.uint8]
    """The blocks as the file has them, `(*shape[:-1], bytes of a row)`; a read-only view of it."""


@dataclass(frozen=True)
class Header:
    meta: dict[str, Any]
    tensors: tuple[TensorInfo, ...]

    @property
    def arch(self) -> str:
        return self.text("general.architecture")

    def key(self, name: str, default: Any = None) -> Any:
        """Metadata of this architecture: `key("context_length")` reads `llama.context_length`."""
        return self.meta.get(f"{self.arch}.{name}", default)

    def text(self, name: str) -> str:
        """A metadata value that must be text; empty when it is missing or something else."""
        value = self.meta.get(name)
        return value if isinstance(value, str) else ""

    @property
    def parameter_count(self) -> int:
        """Counted, whatever the file says of itself, as Ollama does."""
        return sum(prod(t.shape) for t in self.tensors)


class Gguf:
    """An open GGUF whose tensors are views of the mapped file: opening reads only the header."""

    def __init__(self, path: str | Path) -> None:
        """Raises `BadGguf`; `FileNotFoundError` and its kin when the file cannot be opened."""
        self.path = Path(path)
        buffer = _map(self.path)
        self.header = _parse(buffer, self.path, arrays=True)
        self.meta = self.header.meta
        self.arch = self.header.arch
        whole = np.frombuffer(buffer, dtype=np.uint8)
        self.tensors = {t.name: self._view(whole, t) for t in self.header.tensors}

    def key(self, name: str, default: Any = None) -> Any:
        """Metadata of this architecture: `key("block_count")` reads `llama.block_count`."""
        return self.header.key(name, default)

    def _view(self, whole: npt.NDArray[np.uint8], info: TensorInfo) -> GgufTensor:
        if not info.row_bytes:
            raise BadGguf(f"{self.path}: tensor {info.name!r} has the unknown type {info.type}")
        data = whole[info.offset : info.offset + info.size].reshape(
            *info.shape[:-1], info.row_bytes
        )
        return GgufTensor(info.name, info.type, info.shape, data)


def header(path: str | Path, *, arrays: bool = False) -> Header:
    """Metadata and tensor table alone, in milliseconds.

    Without `arrays` every array of over 1,024 items is None: a vocabulary is stepped over, not
    built; lists of one value a layer are there.
    Raises `BadGguf`; `FileNotFoundError` and its kin when the file cannot be opened.
    """
    return _parse(_map(Path(path)), Path(path), arrays)


def raw_metadata(path: Path) -> dict[str, bytes]:
    """Each key's type and value as the file has them, to be written again unread.

    Raises as `header`.
    """
    return _guarded(path, lambda: _Cursor(_map(path), arrays=False).raw())


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        if file.seek(0, 2) < 24:
            raise BadGguf(f"{path}: not a GGUF file, or one that was cut short")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _parse(buffer: mmap.mmap, path: Path, arrays: bool) -> Header:
    return _guarded(path, lambda: _Cursor(buffer, arrays).header())


def _guarded(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (_Malformed, struct.error) as error:
        raise BadGguf(f"{path}: {error}") from error


class _Malformed(Exception):
    """What is wrong with the file, without its name."""


class _Cursor:
    """Walks a header once, from front to back."""

    def __init__(self, buffer: mmap.mmap, arrays: bool) -> None:
        self.buffer = buffer
        self.at = 0
        self.end = min(len(buffer), _LONGEST_HEADER)
        self.arrays = arrays
        self.items = 0

    def header(self) -> Header:
        tensors, keys = self._opening()
        meta: dict[str, Any] = {}
        for name in self._names(keys, meta):
            meta[name] = self._value(self._number(_U32))
        raw = [self._tensor() for _ in range(tensors)]
        base = self._aligned(meta.get("general.alignment", 32))
        return Header(meta, tuple(self._placed(raw, base)))

    def raw(self) -> dict[str, bytes]:
        spans: dict[str, bytes] = {}
        for name in self._names(self._opening()[1], spans):
            start = self.at
            self._value(self._number(_U32))
            spans[name] = self.buffer[start : self.at]
        return spans

    def _names(self, keys: int, seen: Collection[str]) -> Iterator[str]:
        """Each key's name; whoever takes it reads on to the end of its value."""
        for _ in range(keys):
            name = self._text()
            if name in seen:
                raise _Malformed(f"the key {name!r} is there twice")
            yield name

    def _opening(self) -> tuple[int, int]:
        """Counts of tensors and keys."""
        if self.buffer[:4] != b"GGUF":
            raise _Malformed("not a GGUF file")
        self.at = 4
        version = self._number(_U32)
        if version not in (2, 3):
            kind = "big-endian" if version & 0xFFFF == 0 else f"version {version}"
            raise _Malformed(f"{kind} GGUF files are not supported")
        tensors, keys = self._number(_U64), self._number(_U64)
        if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
            raise _Malformed(f"a header of {keys} keys and {tensors} tensors is not believable")
        return tensors, keys

    def _take(self, size: int) -> int:
        """Step over `size` bytes; where they begin."""
        start = self.at
        if size > self.end - start:
            raise _Malformed("the header is cut short or damaged")
        self.at = start + size
        return start

    def _number(self, layout: struct.Struct) -> int:
        value: int = layout.unpack_from(self.buffer, self._take(layout.size))[0]
        return value

    def _text(self) -> str:
        size = self._number(_U64)
        if size > _LONGEST_TEXT:
            raise _Malformed(f"a text of {size} bytes is not believable")
        start = self._take(size)
        return self.buffer[start : start + size].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _ARRAY:
            return self._array(self._number(_U32), self._number(_U64))
        layout = self._layout(kind)
        value = layout.unpack_from(self.buffer, self._take(layout.size))[0]
        # The shortest text that reads back the same float32: 1e-05, not 9.999999747378752e-06.
        return float(str(np.float32(value))) if kind == _FLOAT else value

    def _layout(self, kind: int) -> struct.Struct:
        if kind not in _LAYOUTS:
            raise _Malformed(f"the metadata type {kind} is unknown")
        return _LAYOUTS[kind]

    def _array(self, kind: int, count: int) -> list[Any] | None:
        self.items += count
        if self.items > _MOST_ITEMS:
            raise _Malformed(f"arrays of {self.items} items are not believable")
        wanted = self.arrays or count <= _SHORT_ARRAY
        if kind == _TEXT:
            texts = self._texts(count, wanted)
            return texts if wanted else None
        start = self._take(count * self._layout(kind).size)
        if not wanted:
            return None
        data = np.frombuffer(self.buffer[start : self.at], dtype=np.dtype(_SCALARS[kind]))
        return list(data.tolist())

    def _texts(self, count: int, wanted: bool) -> list[str]:
        """An array of texts; empty when it is not wanted.  The one hot loop of a header."""
        buffer, at, end, unpack = self.buffer, self.at, self.end, _U64.unpack_from
        texts = []
        for _ in range(count):
            start = at + 8
            at = start + unpack(buffer, at)[0]
            if at > end:
                raise _Malformed("the header is cut short or damaged")
            if wanted:
                texts.append(buffer[start:at].decode("utf-8", "replace"))
        self.at = at
        return texts

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape with rows first, type, offset into the data."""
        name = self._text()
        dimensions = self._number(_U32)
        if not 0 < dimensions <= _MOST_DIMENSIONS:
            raise _Malformed(f"tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self._number(_U64) for _ in range(dimensions))[::-1]
        if prod(shape) > _MOST_ELEMENTS:
            raise _Malformed(f"tensor {name!r} of shape {shape} is not believable")
        return name, shape, self._number(_U32), self._number(_U64)

    def _aligned(self, alignment: Any) -> int:
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise _Malformed(f"the alignment {alignment!r} is not a power of two")
        return (self.at + alignment - 1) // alignment * alignment

    def _placed(
        self, raw: list[tuple[str, tuple[int, ...], int, int]], base: int
    ) -> Iterator[TensorInfo]:
        seen: set[str] = set()
        for name, shape, kind, offset in raw:
            if name in seen:
                raise _Malformed(f"the tensor {name!r} is there twice")
            seen.add(name)
            known, elements, block = TYPES.get(kind, (str(kind), 1, 0))
            if shape[-1] % elements:
                raise _Malformed(
                    f"tensor {name!r}: rows of {shape[-1]} are not whole {known} blocks"
                )
            info = TensorInfo(name, known, shape, base + offset, shape[-1] // elements * block)
            if info.offset + info.size > len(self.buffer):
                raise _Malformed(f"the file is cut short: tensor {name!r} is not all there")
            yield info
