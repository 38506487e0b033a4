"""Request bodies → Structs, as leniently as Go's `encoding/json` and with its error texts.

Field names match whatever their case, unknown fields are ignored, the last of repeated keys wins,
`null` is absence, only the first JSON value is read.  Every failure is a `Malformed` with the text
that Ollama answers.
"""

import base64
import binascii
import json
import math
import re
import types
from functools import cache
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from ollmlx.errors import Malformed
from ollmlx.settings import FOREVER, parse_duration

T = TypeVar("T", bound=Struct)
THINK_LEVELS = ("high", "medium", "low", "max")
_THINK = '"high", "medium", "low", "max", true, or false'
_TOOL_CHOICE = '"auto", "none", "required" or {"type": "function", "function": {"name": …}}'
_GO_NAMES = {
    str: "string",
    bool: "bool",
    int: "int",
    float: "float64",
    dict: "map[string]interface {}",
}
_GO_PACKAGES = {"anthropic": "anthropic", "openai": "openai", "responses": "openai"}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_WHOLE = "whole"
"""A field of this name is no key, but holds the object that the Struct was read from."""
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_SYNTAX = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':'": "after object key",
    "Invalid control character": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX": "in \\u hexadecimal character escape",
}


def decode(body: bytes, kind: type[T], empty: str = "missing request body") -> T:
    """Decode a request.  `empty` is the error text for a body without anything in it."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise Malformed(empty)
    return from_value(parse(text), kind)


def from_value(value: Any, kind: type[T]) -> T:
    """A Struct of what was JSON."""
    if value is None:
        return kind()
    if not isinstance(value, dict):
        name = _go_name(kind)
        raise Malformed(f"json: cannot unmarshal {json_kind(value)} into Go value of type {name}")
    decoded: T = _struct(value, kind, f"{kind.__name__}.")
    return decoded


def from_query(query: str, kind: type[T]) -> T:
    """A Struct of what stands after an address's `?`; of repeated names the last counts."""
    try:
        return msgspec.convert(dict(parse_qsl(query)), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Malformed(str(error)) from error


# -- syntax ----------------------------------------------------------------------------------------


def parse(text: str) -> Any:
    """The first JSON value of a text."""
    try:
        value = _DECODER.raw_decode(text)[0]
        return _whole_characters(value) if _SURROGATE.search(text) else value
    except json.JSONDecodeError as error:
        raise Malformed(_syntax_error(text, error)) from error
    except RecursionError as error:
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
    raise Malformed(f"invalid character '{name[0]}' looking for beginning of value")


def _whole_number(text: str) -> int | float:
    """As in Go, what no int64 can hold is a float64."""
    if len(text) <= len(str(-(2**63))) and -(2**63) <= (value := int(text)) < 2**63:
        return value
    return _number(text)


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise Malformed(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


_DECODER = json.JSONDecoder(
    parse_constant=_no_constant, parse_int=_whole_number, parse_float=_number
)


def _syntax_error(text: str, error: json.JSONDecodeError) -> str:
    position, message = error.pos, error.msg
    if message.startswith("Unterminated string") or not text[position:].strip():
        return "unexpected EOF"
    if message.startswith("Expecting value") and (word := _LITERALS.get(text[position])):
        return _broken_literal(text[position:], word)
    if message.startswith("Expecting ',' delimiter"):
        inside = _innermost(text[:position])
        return _invalid(text[position], f"after {inside}")
    if message.startswith("Illegal trailing comma"):
        position = next(i for i in range(position + 1, len(text)) if not text[i].isspace())
    if message.startswith("Invalid \\escape"):
        position += 1
    known = (after for start, after in _SYNTAX.items() if message.startswith(start))
    return _invalid(text[position], next(known, "looking for beginning of value"))


def _invalid(character: str, where: str) -> str:
    shown = {"'": r"'\''", '"': "'\"'", "\n": r"'\n'", "\t": r"'\t'", "\r": r"'\r'"}
    return f"invalid character {shown.get(character, repr(character))} {where}"


def _broken_literal(rest: str, word: str) -> str:
    for index, expected in enumerate(word):
        if index >= len(rest):
            return "unexpected EOF"
        if rest[index] != expected:
            return _invalid(rest[index], f"in literal {word} (expecting '{expected}')")
    return _invalid(rest[0], "looking for beginning of value")


def _innermost(before: str) -> str:
    """What a value was read into just before this point."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", before, flags=re.DOTALL)
    depth = 0
    for character in reversed(outside):
        depth += (character in "]}") - (character in "[{")
        if depth < 0:
            return "array element" if character == "[" else "object key:value pair"
    return "top-level value"


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


def _struct(value: dict[str, Any], kind: type[Struct], path: str) -> Any:
    fields, found = _fields(kind), {}
    # Exact spellings are taken last, so that they win over other cases of the same name.
    for key, item in sorted(value.items(), key=lambda pair: _exact(fields, pair[0])):
        if (field := fields.get(key.lower())) and item is not None:
            attribute, name, hint = field
            found[attribute] = _convert(item, hint, f"{path}{name}")
    if _WHOLE in kind.__struct_fields__:
        found[_WHOLE] = value
    return kind(**found)


def _exact(fields: dict[str, tuple[str, str, Any]], key: str) -> bool:
    field = fields.get(key.lower())
    return field is not None and field[1] == key


def _convert(value: Any, hint: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _convert(_PARSERS[arguments[1]](value), arguments[0], path)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not type(None)]
        fitting = (kind for kind in kinds if _is_scalar(value, kind))
        return _convert(value, next(fitting, kinds[0]), path)
    if origin is list and isinstance(value, list):
        kind = arguments[0]
        return [_convert(item, kind, path) for item in value if item is not None or kind is Any]
    if origin is dict and isinstance(value, dict):
        return {k: _convert(item, arguments[1], f"{path}.{k}") for k, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Struct) and isinstance(value, dict):
        return _struct(value, hint, f"{path}.")
    if _is_scalar(value, hint):
        return float(value) if hint is float else int(value) if hint is int else value
    raise mismatch(value, hint, path)


def mismatch(value: Any, hint: Any, path: str) -> Malformed:
    """The error for a value of another type than `hint` at a path like `ChatRequest.model`."""
    return Malformed(
        f"json: cannot unmarshal {json_kind(value, hint)} into Go struct field {path}"
        f" of type {_go_name(hint)}"
    )


def _is_scalar(value: Any, hint: Any) -> bool:
    if isinstance(value, bool) or hint is bool:
        return hint is bool and isinstance(value, bool)
    if hint is int:
        return isinstance(value, int)
    return (hint is float and isinstance(value, (int, float))) or (
        hint is str and isinstance(value, str)
    )


def _go_name(hint: Any) -> str:
    if get_origin(hint) is list:
        return f"[]{_go_name(get_args(hint)[0])}"
    plain = get_origin(hint) or hint
    if plain is Annotated:
        return _go_name(get_args(hint)[0])
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
            return f"number {value}" if hint is int else "number"


# -- values with a grammar of their own ------------------------------------------------------------


def _keep_alive(value: Any) -> float:
    """Seconds; negative is for ever.  A bare number is seconds, a text a Go duration."""
    match value:
        case bool():
            raise Malformed("Unsupported type: 'bool'")
        case int() | float():
            seconds = float(value)
        case str():
            seconds = parse_duration(value)
        case list():
            raise Malformed("Unsupported type: '[]interface {}'")
        case _:
            raise Malformed("Unsupported type: 'map[string]interface {}'")
    return FOREVER if seconds < 0 else seconds


def _think(value: Any) -> bool | str:
    if isinstance(value, bool) or value in THINK_LEVELS:
        return value  # type: ignore[no-any-return]  # narrowed to bool or str by the line above
    if isinstance(value, str):
        raise Malformed(f'invalid think value: "{value}" (must be {_THINK})')
    raise Malformed(f"think must be a boolean or string ({_THINK})")


def image(value: Any) -> Any:
    """Base64 that can be read; what is no text is another check's to refuse."""
    if isinstance(value, str):
        text = value.replace("\r", "").replace("\n", "")
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            wrong = re.search(r"[^A-Za-z0-9+/]", text.rstrip("="))
            at = wrong.start() if wrong else len(text) // 4 * 4
            raise Malformed(f"illegal base64 data at input byte {at}") from error
    return value


def _tool_choice(value: Any) -> Any:
    match value:
        case "auto" | "none" | "required":
            return value
        case {"type": "function", "function": {"name": str()}}:
            return value
    raise Malformed(f"tool_choice must be {_TOOL_CHOICE}")


def _thinking_budget(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        raise Malformed("thinking_budget must not be negative")
    return value


def _anthropic_messages(value: Any) -> Any:
    return [_anthropic_message(item) for item in value] if isinstance(value, list) else value


def _anthropic_message(value: Any) -> Any:
    """A text stands for one block of it."""
    message = {} if value is None else value
    if not isinstance(message, dict):
        return value
    content = {key: message[key] for key in message if key.lower() == "content"}
    if not content:
        raise Malformed("unexpected end of JSON input")
    blocks = {key: [{"type": "text", "text": c}] for key, c in content.items() if type(c) is str}
    return message | blocks


_PARSERS = {
    "anthropic_messages": _anthropic_messages,
    "keep_alive": _keep_alive,
    "think": _think,
    "image": image,
    "tool_choice": _tool_choice,
    "thinking_budget": _thinking_budget,
}
