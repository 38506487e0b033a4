"""JSON files beside weights, read with a bound and never trusted."""

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ollmlx.errors import LoadFailed

T = TypeVar("T")
MOST_BYTES = 64 << 20
"""Above any real `tokenizer_config.json`, the longest of them."""


class BadDocument(LoadFailed):
    """A file that should hold a JSON object and does not."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The whole file.  Raises `BadDocument` when it is longer than `most`, or `OSError`."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise BadDocument(f"{path}: longer than {most} bytes")
    return data


def text(value: Any) -> str:
    """A value that must be text, without the lone surrogates JSON can smuggle in; else empty."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def decode(data: bytes, where: Path, kind: type[T]) -> T:
    """Strict JSON of a known shape.  Raises `BadDocument`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadDocument(f"{where}: {error}") from error


def parse_object(data: bytes, where: Path) -> dict[str, Any]:
    """NaN and Infinity included: config.json of state-space models has them.

    Raises `BadDocument`.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadDocument(f"{where}: not a JSON object")
    return value


def read_object(path: Path) -> dict[str, Any]:
    """Raises `BadDocument` or `OSError`."""
    return parse_object(read_bytes(path), path)
