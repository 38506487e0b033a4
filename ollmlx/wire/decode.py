"""Request bodies → Structs, as leniently as Go's `encoding/json` and with its error texts.

Field names match whatever their case, unknown fields are ignored, the last of repeated keys wins,
`null` is absence, only the first JSON value is read.  Every failure is a `Malformed` with the text
that Ollama answers.
"""

import json
import math
import re
import types
from functools import cache
from typing import (
    Annotated,
    Any,
    NamedTuple,
    NewType,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from ollmlx.errors import Malformed, Mismatch
from ollmlx.wire import native, syntax
from ollmlx.wire.values import PARSERS

T = TypeVar("T", bound=Struct)
Float32 = NewType("Float32", float)
"""What Go reads into 32 bits: only its errors tell."""
_FLOAT32_END = 2.0**128 - 2.0**103
"""Halfway from the largest to the next: from here on Go finds no float32."""
_GO_NAMES = {
    str: "string",
    bool: "bool",
    int: "int",
    float: "float64",
    Float32: "float32",
    dict: "map[string]interface {}",
    Any: "interface {}",
    native.Message: "api.Alias",
}
_GO_MARKED = {"image": "api.ImageData", "tools": "api.Tools"}
_DECODED_APART = ("api.Alias", "api.ToolProperty", "anthropic.MessageParam")
"""What Ollama has a decoder of its own for: errors inside name the Struct outside."""
_NAMELESS = {
    "openai.Function": r'struct { Name string "json:\"name\""; Arguments string'
    r' "json:\"arguments\"" }',
    "anthropic.MessageParam": r'struct { Role string "json:\"role\""; Content json.RawMessage'
    r' "json:\"content\"" }',
    "openai.ContentKind": r'struct { Type string "json:\"type\"" }',
    "openai.ItemKind": r'struct { Type string "json:\"type\""; Role string "json:\"role\"" }',
    "openai.ResponsesFunctionCallOutput": "",
}
"""What Go prints of a Struct without a name."""
_READ_TWICE = (("anthropic.MessageParam", "content"),)
"""Fields that such a decoder reads by themselves, so that errors do not name them."""
_FLOATS = (float, Float32)
_GO_PACKAGES = {"anthropic": "anthropic", "openai": "openai", "responses": "openai"}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_WHOLE = "whole"
"""A field of this name is no key, but holds the object that the Struct was read from."""
_SPACE = " \t\r\n"


def decode(body: bytes, kind: type[T], empty: str = "missing request body") -> T:
    """Decode a request.  `empty` is the error text for a body without anything in it."""
    body = body.lstrip(_SPACE.encode())
    if not body:
        raise Malformed(empty)
    try:
        return from_value(parse(body), kind)
    except Mismatch:
        # Once more, with numbers as they were written, for the error's text.
        return from_value(parse(body, _AS_WRITTEN), kind)


def from_value(value: Any, kind: type[T]) -> T:
    """A Struct of what was JSON."""
    if value is None:
        return kind()
    if not isinstance(value, dict):
        name = _go_name(kind)
        name = _NAMELESS.get(name, name)
        raise Malformed(f"json: cannot unmarshal {json_kind(value)} into Go value of type {name}")
    decoded: T = _struct(value, kind, _Where("", ""))
    return decoded


def from_query(query: str, kind: type[T]) -> T:
    """A Struct of what stands after an address's `?`; of repeated names the last counts."""
    try:
        return msgspec.convert(dict(parse_qsl(query)), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Malformed(str(error)) from error


# -- syntax ----------------------------------------------------------------------------------------


def parse(text: str | bytes, decoder: json.JSONDecoder | None = None) -> Any:
    """The first JSON value of a text."""
    return _read(text, decoder or _DECODER)[0]


def parse_whole(text: str) -> Any:
    """The one JSON value that a text is, as Go's `Unmarshal` reads it."""
    text = text.strip(_SPACE)
    try:
        value, end = _read(text, _DECODER)
    except Malformed as error:
        if str(error) != syntax.ENDED:
            raise
        raise Malformed("unexpected end of JSON input") from error
    if rest := text[end:].lstrip(_SPACE):
        syntax.refuse(rest.encode("utf-8", "replace"), 0, "after top-level value")
    return value


def _read(text: str | bytes, decoder: json.JSONDecoder) -> tuple[Any, int]:
    """The first JSON value of a text, and where it ends."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    text = text if isinstance(text, str) else text.decode("utf-8", "replace")
    try:
        value, end = decoder.raw_decode(text)
        return (_whole_characters(value) if _SURROGATE.search(text) else value), end
    except (json.JSONDecodeError, RecursionError) as error:
        syntax.check(data)
        raise Malformed("exceeded max depth") from error


def _whole_characters(value: Any) -> Any:
    """Half a surrogate pair is no character: as Go does, U+FFFD takes its place."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [_whole_characters(item) for item in value]
        case dict():
            return {_whole_characters(k): _whole_characters(v) for k, v in value.items()}
    return value


def _no_constant(name: str) -> NoReturn:
    """NaN and infinities, which Python's decoder takes."""
    where = "in numeric literal" if name[0] == "-" else "looking for beginning of value"
    raise Malformed(f"invalid character '{name.lstrip('-')[0]}' {where}")


def _whole_number(text: str) -> int | float:
    """As in Go, what no int64 can hold is a float64."""
    if len(text) <= len(str(-(2**63))) and -(2**63) <= (value := int(text)) < 2**63:
        return value
    return _number(text)


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise Malformed(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


class _Written(float):
    """A number that is printed as it was written."""

    def __new__(cls, text: str) -> "_Written":
        number = super().__new__(cls, _number(text))
        number._text = text
        return number

    _text: str

    def __str__(self) -> str:
        return self._text


def _written_int(text: str) -> int | float:
    number = _whole_number(text)
    return number if isinstance(number, int) else _Written(text)


_DECODER = json.JSONDecoder(
    parse_constant=_no_constant, parse_int=_whole_number, parse_float=_number
)
_AS_WRITTEN = json.JSONDecoder(
    parse_constant=_no_constant, parse_int=_written_int, parse_float=_Written
)


# -- types -----------------------------------------------------------------------------------------


@cache
def _fields(kind: type[Struct]) -> dict[str, tuple[str, str, Any]]:
    """Lower-case wire name → (attribute, wire name, type)."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        f.encode_name.lower(): (f.name, f.encode_name, hints[f.name])
        for f in msgspec.structs.fields(kind)
        if f.name != _WHOLE
    }


class _Where(NamedTuple):
    """A place in a request as Go's errors name it."""

    struct: str
    """Go's name of the Struct around it."""
    path: str
    apart: bool = False
    """Read by a decoder of its own."""

    def field(self, name: str) -> "_Where":
        return self._replace(path=f"{self.path}.{name}" if self.path else name)

    def inside(self, kind: type[Struct]) -> "_Where":
        if self.apart:
            return self
        name = _go_name(kind)
        if name in _DECODED_APART:
            return self._replace(apart=True)
        return self._replace(struct="" if name in _NAMELESS else name.partition(".")[2])

    def __str__(self) -> str:
        return f"{self.struct}.{self.path}"


def _struct(value: dict[str, Any], kind: type[Struct], where: _Where) -> Any:
    fields, found, where = _fields(kind), {}, where.inside(kind)
    struct, mismatch = _go_name(kind), None
    for key, item in value.items():
        if (field := fields.get(key.lower())) and item is not None:
            attribute, name, hint = field
            try:
                place = where if (struct, name) in _READ_TWICE else where.field(name)
                found[attribute] = _convert(item, hint, place)
            except Mismatch as error:
                mismatch = mismatch or error
    if mismatch:
        raise mismatch
    if _WHOLE in kind.__struct_fields__:
        found[_WHOLE] = value
    return kind(**found)


def _convert(value: Any, hint: Any, where: _Where) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if value is None and hint is not Any:
        return _nothing(hint)
    if origin is Annotated:
        plain, marker = arguments
        if marker in _GO_MARKED and not isinstance(value, get_origin(plain) or plain):
            raise mismatch(value, hint, where)
        return _convert(PARSERS.get(marker, _as_it_is)(value), plain, where)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not type(None)]
        fitting = (kind for kind in kinds if _is_scalar(value, kind))
        return _convert(value, next(fitting, kinds[0]), where)
    if origin is list and isinstance(value, list):
        return [_convert(item, arguments[0], where) for item in value]
    if origin is dict and isinstance(value, dict):
        return {k: _convert(item, arguments[1], where) for k, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Struct) and isinstance(value, dict):
        return _struct(value, hint, where)
    if _is_scalar(value, hint):
        return float(value) if hint in _FLOATS else int(value) if hint is int else value
    raise mismatch(value, hint, where)


def _as_it_is(value: Any) -> Any:
    return value


def _nothing(hint: Any) -> Any:
    """What Go makes of a `null` in a list or a map."""
    if get_origin(hint) is Annotated:
        return _nothing(get_args(hint)[0])
    plain = get_origin(hint) or hint
    return None if plain in (Union, types.UnionType) else plain()


def mismatch(value: Any, hint: Any, where: object) -> Malformed:
    """The error for a value of another type than `hint` at a place like `ChatRequest.model`."""
    name = _go_name(hint)
    return Mismatch(
        f"json: cannot unmarshal {json_kind(value, hint)} into Go struct field {where}"
        f" of type {_NAMELESS.get(name, name)}"
    )


def _is_scalar(value: Any, hint: Any) -> bool:
    if isinstance(value, bool) or hint is bool:
        return hint is bool and isinstance(value, bool)
    if hint is int:
        return isinstance(value, int)
    if hint in _FLOATS and isinstance(value, (int, float)):
        return hint is float or abs(value) < _FLOAT32_END
    return hint is str and isinstance(value, str)


def _go_name(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        plain, marker = get_args(hint)
        return _GO_MARKED.get(marker) or _go_name(plain)
    if get_origin(hint) is dict:
        return f"map[string]{_go_name(get_args(hint)[1])}"
    if get_origin(hint) is list:
        kind = get_args(hint)[0]
        # Only the elements of the list have a decoder of their own.
        return "[]api.Message" if kind is native.Message else f"[]{_go_name(kind)}"
    plain = get_origin(hint) or hint
    package = _GO_PACKAGES.get(plain.__module__.rpartition(".")[2], "api")
    return _GO_NAMES.get(plain) or f"{package}.{getattr(plain, '__name__', 'Value')}"


def json_kind(value: Any, hint: Any = None) -> str:
    """What Go calls a value that is no `hint`."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return f"number {value!s}" if hint in (int, Float32) else "number"
