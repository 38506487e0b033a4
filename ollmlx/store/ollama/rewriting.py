"""A GGUF written anew without touching its values, byte for byte as Ollama writes one.

Keys are sorted, tensors go by layer and name, and the count of parameters is written down.
Source: `WriteGGUF` in `fs/ggml/gguf.go` of https://github.com/ollama/ollama.
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ollmlx.errors import LoadFailed
from ollmlx.gguf import TensorInfo, header, raw_metadata
from ollmlx.gguf.writing import encoded, laid_out

_PLAIN = ("general.", "adapter.", "tokenizer.")
_SPLIT = ("split.no", "split.count", "split.tensors.count")
_BLOCK = re.compile(r"blk\.([+-]?\d+)\.")
_PIECE = 1 << 22
_OWN_SENSES = ("a.", "mm.", "mtp.", "s.", "v.")


class CannotRewrite(LoadFailed):
    """A file with tensors of a type whose size nobody here knows."""


@dataclass(frozen=True)
class Tensor:
    """A tensor, and the file that it is copied from."""

    path: Path
    info: TensorInfo

    @property
    def sees_or_hears(self) -> bool:
        """Whether it belongs to what llama.cpp has in a second file, the projector."""
        return self.info.name.startswith(_OWN_SENSES)

    @property
    def place(self) -> tuple[float, bytes]:
        found = _BLOCK.match(self.info.name)
        return int(found[1]) if found else float("inf"), self.info.name.encode()


def tensors(*paths: Path) -> list[Tensor]:
    """Of one file, or of all parts of a split one.  Raises `BadGguf` or `OSError`."""
    return [Tensor(path, info) for path in paths for info in header(path).tensors]


def with_projector_type(source: Path, target: Path) -> None:
    """A projector of the first LLaVAs, which do not say what they are.

    Raises `BadGguf`, `CannotRewrite` or `OSError`.
    """
    _write(target, source, {"clip.projector_type": encoded("mlp")}, tensors(source))


def joined(parts: Sequence[Path], target: Path) -> None:
    """One file of the parts of a split one, the metadata of the first.  Raises as above."""
    _write(target, parts[0], dict.fromkeys(_SPLIT, None), tensors(*parts))


def with_senses(quantised: Path, original: Path, target: Path, file_type: int) -> None:
    """The text model as llama.cpp made it, with what sees and hears as it was.  Raises as above."""
    kept = [one for one in tensors(quantised) if not one.sees_or_hears]
    kept += [one for one in tensors(original) if one.sees_or_hears]
    _write(target, original, {"general.file_type": encoded(file_type)}, kept)


def _write(
    target: Path, source: Path, changes: Mapping[str, bytes | None], held: Iterable[Tensor]
) -> None:
    """`changes` to the metadata of `source`: values as the file has them, None takes a key away."""
    whole, found = raw_metadata(source), header(source)
    count = struct.pack("<IQ", 10, found.parameter_count)
    whole |= {"general.parameter_count": count}
    for key, value in changes.items():
        for name in (key, f"{found.arch}.{key}") if value is None else (key,):
            whole.pop(name, None)
        if value is not None:
            whole[key] = value
    alignment = found.meta.get("general.alignment", 32)
    ordered = sorted(held, key=lambda one: one.place)
    if unknown := next((one.info for one in ordered if not one.info.row_bytes), None):
        raise CannotRewrite(f"the tensor {unknown.name!r} has the unknown type {unknown.type}")
    keys = {_key(name, found.arch): whole[name] for name in sorted(whole, key=str.encode)}
    head, starts = laid_out(keys, [one.info for one in ordered], alignment)
    with target.open("wb") as file:
        file.write(head)
        for tensor, start in zip(ordered, starts, strict=True):
            file.seek(start)
            _copy(tensor, file)


def _key(name: str, arch: str) -> str:
    return name if name.startswith((*_PLAIN, f"{arch}.")) else f"{arch}.{name}"


def _copy(tensor: Tensor, file: BinaryIO) -> None:
    left = tensor.info.size
    with tensor.path.open("rb") as source:
        source.seek(tensor.info.offset)
        while left and (data := source.read(min(left, _PIECE))):
            file.write(data)
            left -= len(data)
    if left:
        raise CannotRewrite(f"{tensor.path} was cut short while it was read")
