"""What an answer must look like, and the Python value that it is read as."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_origin

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DecimalSchema, SetSchema

from ollmlx.batch.examples import example
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

    @property
    def example(self) -> Any:
        """A value of this shape, as JSON has it; None where any would do."""
        if not self.is_json:
            return ""
        return example(self.format) if isinstance(self.format, dict) else None

    def read(self, text: str) -> Any:
        """The value of a whole answer.  Raises `Misshapen`."""
        try:
            return self.decode(text)
        except ValueError as error:
            begun = text if len(text) <= 60 else f"{text[:60]}…"
            raise Misshapen(
                f"the answer is not of the shape asked for: {begun!r} ({_why(error)})"
            ) from error


def _why(error: ValueError) -> str:
    """The first thing that is wrong, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return ": ".join([*map(str, first["loc"]), first["msg"]])


FREE = Shape(None, str)
_TEXTS = ("regex", "choice", "lark", "gbnf")
"""Types of a `format` whose answers are text, and not JSON."""


def shape(wanted: Any) -> Shape:
    """Of `"json"`, a JSON Schema or a grammar of the API (dicts), a compiled regular expression, or
    any type that pydantic or msgspec knows: model, dataclass, TypedDict, NamedTuple, Enum, Literal,
    `list[…]`, union, `TypeAdapter`, msgspec Struct.

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
    if not _is_type(wanted):
        raise Shapeless(
            f"{wanted!r} is not a shape: take a pydantic model, a dataclass, a TypedDict, "
            'a Literal, a JSON Schema or "json"'
        )
    try:
        adapter = wanted if isinstance(wanted, TypeAdapter) else TypeAdapter(wanted)
        return Shape(adapter.json_schema(schema_generator=_Writable), adapter.validate_json)
    except PydanticUserError:  # for a Struct, and a TypedDict of Python 3.11
        return _by_msgspec(wanted)


class _Writable(GenerateJsonSchema):
    """Without what no grammar can hold and Python sees to itself."""

    def set_schema(self, schema: SetSchema) -> JsonSchemaValue:
        made = super().set_schema(schema)
        return {key: value for key, value in made.items() if key != "uniqueItems"}

    def decimal_schema(self, schema: DecimalSchema) -> JsonSchemaValue:
        """A number; written as text it could be anything."""
        made = super().decimal_schema(schema)
        number: JsonSchemaValue = made.get("anyOf", [made])[0]
        return number


def _by_msgspec(wanted: Any) -> Shape:
    try:
        decoder = msgspec.json.Decoder(wanted)
        return Shape(msgspec.json.schema(wanted), decoder.decode)
    except TypeError as error:
        raise Shapeless(f"no JSON Schema describes {wanted!r}: {error}") from error


def _is_type(value: Any) -> bool:
    return isinstance(value, type | TypeAdapter) or get_origin(value) is not None
