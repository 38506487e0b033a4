"""GGUF files that are one model in several parts, by their names and by what they say themselves.

The texts of the refusals are Ollama's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ollmlx.errors import OllmlxError
from ollmlx.gguf import Header

_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


class BadSplit(OllmlxError):
    """Parts that do not make a whole."""


@dataclass(frozen=True)
class Part:
    """One GGUF of a request."""

    name: str
    """As the client calls the file."""
    digest: str
    header: Header

    def number(self, key: str) -> int | None:
        meta: Mapping[str, Any] = self.header.meta
        value = meta.get(key, meta.get(f"{self.header.arch}.{key}"))
        return value if isinstance(value, int) and 0 <= value < 1 << 16 else None

    @property
    def stem(self) -> str:
        """The name that the parts share; empty for a file that is whole.

        Raises `BadSplit` when the name and the file disagree.
        """
        count = self.number("split.count")
        if count is None or count <= 1:
            return ""
        match = _NAME.fullmatch(self.name.rpartition("/")[2])
        if match is None or int(match[2]) == 0 or int(match[3]) == 0:
            raise BadSplit(f'split GGUF "{self.name}" must use llama.cpp split filename pattern')
        if int(match[3]) != count:
            raise BadSplit(
                f'split GGUF "{self.name}" filename count {int(match[3])} does not match '
                f"metadata count {count}"
            )
        number = self.number("split.no")
        if number is None:
            raise BadSplit(f'split GGUF "{self.name}" is missing split.no metadata')
        if number != int(match[2]) - 1:
            raise BadSplit(
                f'split GGUF "{self.name}" filename index {int(match[2]) - 1} does not match '
                f"metadata index {number}"
            )
        return f"{match[1]}:{count}"


def grouped(parts: Sequence[Part]) -> list[list[Part]]:
    """Whole files first, each alone; then the parts of each split file in their order.

    Raises `BadSplit`.
    """
    groups: dict[str, list[Part]] = {}
    whole = []
    for part in parts:
        if stem := part.stem:
            groups.setdefault(stem, []).append(part)
        else:
            whole.append([part])
    return [*whole, *map(_ordered, groups.values())]


def _ordered(parts: list[Part]) -> list[Part]:
    count = parts[0].number("split.count")
    if len(parts) != count:
        raise BadSplit(f'split GGUF "{parts[0].name}" has {len(parts)} shards, expected {count}')
    ordered = sorted(parts, key=lambda part: part.number("split.no") or 0)
    for number, part in enumerate(ordered):
        if part.number("split.no") != number:
            raise BadSplit(f"split GGUF has duplicate shard index {part.number('split.no')}")
    return ordered
