"""Go values as Python ones: their types' names, their truth, and their text in Go's JSON.

None, bool, int, float, str, bytes, list and dict stand for nil, bool, int, float64, string, an
image, `[]any` and `map[string]any`; `Struct` stands for a struct, whose fields are fixed and whose
JSON keeps their order.
"""

import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any


class Struct:
    """A Go struct: fields by their Go names.

    `wire` is what its JSON holds, in order, when that differs from the fields.
    """

    __slots__ = ("fields", "type_name", "wire")

    def __init__(
        self, type_name: str, fields: dict[str, Any], wire: dict[str, Any] | None = None
    ) -> None:
        self.type_name = type_name
        self.fields = fields
        self.wire = fields if wire is None else wire


class JSONStruct(Struct):
    """A struct whose `String` method gives JSON."""


class Slice(list[Any]):
    """A slice of a named type; one made of None is nil, which JSON writes as `null`."""

    def __init__(self, type_name: str, items: Iterable[Any] | None) -> None:
        super().__init__(items or ())
        self.type_name = type_name
        self.nil = items is None


class JSONSlice(Slice):
    """A slice whose `String` method gives JSON."""


class JSONMap(dict[str, Any]):
    """A map whose `String` method gives JSON; `zero` is what a key that it lacks gives.

    One made of None is nil, which prints as `{}`.
    """

    def __init__(
        self,
        items: dict[str, Any] | None,
        type_name: str = "template.templateArgs",
        zero: Any = None,
    ) -> None:
        super().__init__(items or {})
        self.type_name = type_name
        self.zero = zero
        self.nil = items is None


class TypeNames(Slice):
    """JSON Schema's `type`: one name prints, and is written, without brackets."""


def type_name(value: Any) -> str:
    """As Go's `%T`."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case Struct() | Slice() | JSONMap():
            return value.type_name
        case bytes():
            return "api.ImageData"
        case dict():
            return "map[string]interface {}"
    return "[]interface {}"


def truth(value: Any) -> bool:
    """False for the zero value of every type but a struct."""
    return True if isinstance(value, Struct) else bool(value)


def entry(value: dict[str, Any], key: str) -> Any:
    """A map's value; for a key that is not there, its type's zero."""
    return value.get(key, value.zero if isinstance(value, JSONMap) else None)


def text_method(value: Any) -> str | None:
    """What the value's `String` method gives, where it has one."""
    match value:
        case JSONMap() if value.nil:
            return "{}"
        case JSONSlice() | JSONMap() | JSONStruct():
            return marshal(value)
        case TypeNames():
            return value[0] if len(value) == 1 else f"[{' '.join(value)}]" if value else ""
    return None


def marshal(value: Any) -> str:
    """Go's compact JSON: maps sorted, structs in order, `<`, `>` and `&` escaped."""
    return "".join(_pieces(value))


def _pieces(value: Any) -> Iterator[str]:
    match value:
        case Struct():
            yield from _object(value.wire.items())
        case TypeNames() if len(value) == 1:
            yield _string(value[0])
        case Slice() | JSONMap() if value.nil:
            yield "null"
        case bytes():
            yield _string(b64encode(value).decode())
        case dict():
            yield from _object(sorted(value.items(), key=lambda item: item[0].encode()))
        case list():
            yield from _array(value)
        case str():
            yield _string(value)
        case bool() | None:
            yield {True: "true", False: "false", None: "null"}[value]
        case float():
            yield _number(value)
        case _:
            yield str(value)


def _object(items: Any) -> Iterator[str]:
    separator = "{"
    for key, value in items:
        yield f"{separator}{_string(key)}:"
        yield from _pieces(value)
        separator = ","
    yield "}" if separator == "," else "{}"


def _array(values: list[Any]) -> Iterator[str]:
    yield "["
    for index, value in enumerate(values):
        if index:
            yield ","
        yield from _pieces(value)
    yield "]"


_ESCAPED = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPED)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "null"
    if value and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = f"{value!r}".partition("e")
        if exponent:
            # Go writes e-07 as e-7.
            return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
        return repr(value)
    return shortest(value)


def shortest(value: float) -> str:
    """The shortest decimals that read back the same, without an exponent."""
    text = repr(value)
    match = re.fullmatch(r"(-?)(\d)(?:\.(\d+))?e([+-]\d+)", text)
    if not match:
        return text.removesuffix(".0")
    sign, first, rest, exponent = match.groups()
    digits, point = first + (rest or ""), 1 + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    digits = digits.ljust(point, "0")
    fraction = digits[point:]
    return sign + digits[:point] + (f".{fraction}" if fraction else "")
