"""What an answer must look like, and the Python value that it is read as."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, get_origin

import msgspec

from ollmlx.errors import BadRequest, OllmlxError


class Misshapen(OllmlxError):
    """An answer is not of the shape that was asked for, most often because it was cut off."""


class Shapeless(BadRequest):
    """What was given as a shape describes none."""


@dataclass(frozen=True)
class Shape:
    """`format` is what the API's `format` takes; None leaves answers free."""

    format: Any
    decode: Callable[[str], Any]
    """Raises `ValueError` for a text that is no such value."""

    @property
    def is_json(self) -> bool:
        """Whether answers are JSON."""
        return self.decode is not str

    def read(self, text: str) -> Any:
        """The value of a whole answer.  Raises `Misshapen`."""
        try:
            return self.decode(text)
        except ValueError as error:
            begun = text if len(text) <= 60 else f"{text[:60]}…"
            raise Misshapen(f"the answer is not of the shape asked for: {begun!r}") from error


FREE = Shape(None, str)
_TEXTS = ("regex", "choice", "lark", "gbnf")
"""Types of a `format` whose answers are text, and not JSON."""


def shape(wanted: Any) -> Shape:
    """Of `"json"`, a JSON Schema or a grammar of the API (dicts), a compiled regular expression, a
    pydantic model, or any type that msgspec knows: dataclass, TypedDict, NamedTuple, Enum, Literal,
    `list[…]`, msgspec Struct.

    Raises `Shapeless`.
    """
    if wanted is None:
        return FREE
    if wanted == "json":
        return Shape("json", json.loads)
    if isinstance(wanted, re.Pattern):
        return Shape({"type": "regex", "pattern": wanted.pattern}, str)
    if isinstance(wanted, dict):
        return Shape(wanted, str if wanted.get("type") in _TEXTS else json.loads)
    if hasattr(wanted, "model_json_schema"):  # pydantic's; nothing here imports it
        return Shape(wanted.model_json_schema(), wanted.model_validate_json)
    if not _is_type(wanted):
        raise Shapeless(
            f"{wanted!r} is not a shape: take a pydantic model, a dataclass, a TypedDict, "
            'a Literal, a JSON Schema or "json"'
        )
    try:
        decoder = msgspec.json.Decoder(wanted)
        return Shape(msgspec.json.schema(wanted), decoder.decode)
    except TypeError as error:
        raise Shapeless(f"no JSON Schema describes {wanted!r}: {error}") from error


def _is_type(value: Any) -> bool:
    return isinstance(value, type) or is_dataclass(value) or get_origin(value) is not None
