"""GGUFs as Ollama's library published them, seen as llama.cpp wants them.

Ollama's own converters named some keys and tensors otherwise, and kept what a model sees and hears
with in the same file.  A `View` is the header of such a file in llama.cpp's form, over the bytes of
the file itself: no other copy is made on the disk.  What differs in which family is in
`published.text` and `published.senses`.
Source: `llama/compat` of https://github.com/ollama/ollama.
"""

from __future__ import annotations

import struct
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, quants
from numpy.typing import NDArray

from ollmlx.errors import LoadFailed
from ollmlx.gguf import TYPES, Gguf, Header, TensorInfo, raw_metadata
from ollmlx.gguf.writing import Value, cut, encoded, laid_out

SENSES = ("a.", "mm.", "model.vision_tower.", "s.", "v.")
"""How names of tensors begin that belong to what sees and hears."""
BROKEN = (IndexError, KeyError, NotImplementedError, TypeError, ValueError, ZeroDivisionError)
"""What translating a file raises whose keys or tensors are not those of its family."""
_BLOCKS = {name: (elements, size) for name, elements, size in TYPES.values()}


@dataclass(frozen=True)
class Tensor:
    type: str
    shape: tuple[int, ...]
    """Rows first."""
    blocks: Callable[[], NDArray[np.uint8]]
    """The bytes, `(*shape[:-1], bytes of a row)`; made when they are asked for."""

    def values(self, rows: Any = slice(None)) -> NDArray[np.float32]:
        """As numbers, in this shape; `rows` is an index of the first dimension."""
        kind = GGMLQuantizationType[self.type]
        return np.asarray(quants.dequantize(self.blocks()[rows], kind), np.float32)

    def described(self, name: str) -> TensorInfo:
        elements, size = _BLOCKS[self.type]
        return TensorInfo(name, self.type, self.shape, 0, self.shape[-1] // elements * size)


class View:
    """A file's header to be changed.  Raises `BadGguf` or `OSError`.

    Names of keys are whole, except for `key`, which reads what the file has of its architecture.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = Gguf(path)
        self.arch = self.file.arch
        self.keys = raw_metadata(Path(path))
        self.tensors = {
            name: Tensor(tensor.type, tensor.shape, lambda data=tensor.data: data)  # type: ignore[misc]  # mypy infers no type for a lambda's default
            for name, tensor in self.file.tensors.items()
        }
        self._before = dict(self.keys), dict(self.tensors)

    @property
    def changed(self) -> bool:
        return (self.keys, self.tensors) != self._before

    # -- keys ------------------------------------------------------------------------------------

    def key(self, name: str, default: Any = None) -> Any:
        return self.file.key(name, default)

    def put(self, name: str, value: Value) -> None:
        self.keys[name] = encoded(value)

    def default(self, name: str, value: Value) -> None:
        self.keys.setdefault(name, encoded(value))

    def copy(self, source: str, target: str) -> None:
        """Unless the one is missing or the other there."""
        if source in self.keys:
            self.keys.setdefault(target, self.keys[source])

    def become(self, arch: str) -> None:
        """Another architecture, which has the keys of this one as its own."""
        old = f"{self.arch}."
        self.keys = {
            f"{arch}.{name.removeprefix(old)}" if name.startswith(old) else name: value
            for name, value in self.keys.items()
        }
        self.put("general.architecture", arch)

    def shorten_vocabulary(self, count: int) -> None:
        for name in ("tokens", "scores", "token_type"):
            key = f"tokenizer.ggml.{name}"
            if key in self.keys:
                self.keys[key] = cut(self.keys[key], count)

    # -- tensors ---------------------------------------------------------------------------------

    def has(self, *prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in self.tensors)

    def hide(self, *prefixes: str) -> None:
        self.tensors = {n: t for n, t in self.tensors.items() if not n.startswith(prefixes)}

    def rename(self, *changes: tuple[str, str]) -> None:
        """One after the other, in each name the first place where the old text stands."""
        for old, new in changes:
            self.tensors = {n.replace(old, new, 1): t for n, t in self.tensors.items()}

    def shorten(self, name: str, rows: int) -> None:
        """Keep the first rows."""
        whole = self.tensors[name]
        shape = (rows, *whole.shape[1:])
        self.tensors[name] = Tensor(whole.type, shape, lambda: whole.blocks()[:rows])

    def join(self, target: str, *sources: str) -> None:
        """Rows behind rows, in place of the sources; as floats where their types differ."""
        parts = [self.tensors.pop(name) for name in sources]
        if len({part.type for part in parts}) > 1:
            parts = [_floats(part) for part in parts]
        first = parts[0]
        shape = (sum(part.shape[0] for part in parts), *first.shape[1:])
        self.tensors[target] = Tensor(
            first.type, shape, lambda: np.concatenate([part.blocks() for part in parts])
        )

    def as_floats(self, *names: str) -> None:
        """As 32-bit floats, where they are there."""
        for name in names:
            if name in self.tensors:
                self.tensors[name] = _floats(self.tensors[name])


@dataclass(frozen=True)
class Family:
    published: Callable[[Header], bool]
    translate: Callable[[View], None]


def sees(found: Header) -> bool:
    return any(tensor.name.startswith(SENSES) for tensor in found.tensors)


def marked(*names: str) -> Callable[[Header], bool]:
    """Files with senses inside, or one of these keys of their architecture."""
    return lambda found: sees(found) or any(found.key(name) is not None for name in names)


def has(found: Header, name: str) -> bool:
    return any(tensor.name == name for tensor in found.tensors)


def _floats(tensor: Tensor) -> Tensor:
    return computed(tensor.shape, tensor.values)


def computed(shape: Sequence[int], values: Callable[[], NDArray[np.float32]]) -> Tensor:
    """Floats that are made when they are asked for."""
    return Tensor("F32", tuple(shape), lambda: np.ascontiguousarray(values()).view(np.uint8))


def constant(value: float) -> Tensor:
    return computed((1,), lambda: np.array([value], np.float32))


def translated(path: str, translate: Callable[[View], None]) -> View | None:
    """The file changed so; None where nothing changes.

    Raises `LoadFailed` for one that is not what its family's are.
    """
    view = View(path)
    try:
        translate(view)
    except (*BROKEN, struct.error) as error:
        raise broken(view, error) from error
    return view if view.changed else None


def broken(view: View, error: Exception) -> LoadFailed:
    return LoadFailed(
        f"unable to load model: {view.file.path}: not what Ollama published as {view.arch!r}:"
        f" {error!r}"
    )


class Content:
    """A view as the bytes of a file, to be read at any place."""

    def __init__(self, view: View) -> None:
        self._tensors = list(view.tensors.values())
        described = [tensor.described(name) for name, tensor in view.tensors.items()]
        alignment = view.file.meta.get("general.alignment", 32)
        self._head, starts = laid_out(view.keys, described, alignment)
        self._starts = [0, *starts]
        self._sizes = [len(self._head), *(each.size for each in described)]
        self._made: tuple[int, NDArray[np.uint8]] = -1, np.empty(0, np.uint8)
        self.size = self._starts[-1] + self._sizes[-1]

    def read(self, at: int = 0, count: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """At most `count` bytes from `at` on, in pieces; fewer only at the end."""
        end = self.size if count is None else min(at + count, self.size)
        while at < end:
            number = bisect_right(self._starts, at) - 1
            begin = at - self._starts[number]
            if begin < self._sizes[number]:
                piece = self._segment(number)[begin : begin + end - at]
            else:
                piece = np.zeros(min(self._starts[number + 1], end) - at, np.uint8)
            yield piece
            at += len(piece)

    def _segment(self, number: int) -> NDArray[np.uint8]:
        if self._made[0] != number:
            if number:
                flat = self._tensors[number - 1].blocks().reshape(-1)
            else:
                flat = np.frombuffer(self._head, np.uint8)
            if len(flat) != self._sizes[number]:
                raise ValueError(f"a tensor of {self._sizes[number]} bytes has {len(flat)}")
            self._made = number, flat
        return self._made[1]


@contextmanager
def written(view: View) -> Iterator[Path]:
    """A file of it that is there for a while.  Raises `LoadFailed` where there is no room."""
    with tempfile.NamedTemporaryFile(prefix="ollmlx-", suffix=".gguf") as file:
        try:
            for piece in Content(view).read():
                file.write(piece.data)
            file.flush()
        except BROKEN as error:
            raise broken(view, error) from error
        except OSError as error:
            raise LoadFailed(
                f"unable to load model: {view.file.path}: cannot write what it sees with to"
                f" {file.name}: {error.strerror}"
            ) from error
        yield Path(file.name)
