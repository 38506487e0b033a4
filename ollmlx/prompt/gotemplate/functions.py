"""The functions a Go template may call: Go's own, and the four that Ollama adds.

A function raises ValueError with Go's text; the interpreter says where.  `and` and `or` are the
interpreter's own, for they do not evaluate all their arguments.
"""

import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from ollmlx.prompt.gotemplate.printing import LONGEST, TooLong, sprint, sprintf, sprintln, text_of
from ollmlx.prompt.gotemplate.values import Struct, TypeNames, entry, marshal, truth, type_name


class Function(NamedTuple):
    call: Callable[..., Any]
    least: int
    """Arguments it must have."""
    most: int | None
    """None: any number."""


def _kind(value: Any) -> str:
    """The kinds that Go compares: values of two of them are never equal, and that is an error."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "string"
    return ""


def _equal_one(first: Any, second: Any) -> bool:
    if _kind(first) != _kind(second):
        if first is None or second is None:
            return False
        raise ValueError(
            f"incompatible types for comparison: {type_name(first)} and {type_name(second)}"
        )
    if not _kind(first):
        if first is None or second is None:
            return first is second
        raise ValueError(f"non-comparable type {text_of(second)}: {type_name(second)}")
    return bool(first == second)


def equal(first: Any, *others: Any) -> bool:
    """Whether the first is any of the others."""
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_equal_one(first, other) for other in others)


def less(first: Any, second: Any) -> bool:
    if not _kind(first) or not _kind(second):
        raise ValueError("invalid type for comparison")
    if _kind(first) != _kind(second):
        raise ValueError(
            f"incompatible types for comparison: {type_name(first)} and {type_name(second)}"
        )
    if isinstance(first, bool):
        raise ValueError("invalid type for comparison")
    return bool(first < second)


def less_or_equal(first: Any, second: Any) -> bool:
    return less(first, second) or equal(first, second)


def length(value: Any) -> int:
    """Items, entries, or bytes of UTF-8."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | dict | bytes):
        return len(value)
    if value is None:
        raise ValueError("len of nil pointer")
    raise ValueError(f"len of type {type_name(value)}")


def _position(index: Any, most: int) -> int:
    if index is None:
        raise ValueError("cannot index slice/array with nil")
    if not isinstance(index, int) or isinstance(index, bool):
        raise ValueError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= most:
        raise ValueError(f"index out of range: {index}")
    return index


def index(value: Any, *keys: Any) -> Any:
    """`value[key][key]…`; a byte where the value is a string, nil where a map has no such key."""
    if value is None:
        raise ValueError("index of untyped nil")
    for key in keys:
        match value:
            case None:
                raise ValueError("index of nil pointer")
            case str() | list():
                sequence = value.encode() if isinstance(value, str) else value
                position = _position(key, len(sequence))
                if position == len(sequence):
                    raise ValueError(
                        f"reflect: {'string' if isinstance(value, str) else 'slice'}"
                        " index out of range"
                    )
                value = sequence[position]
            case dict():
                if not isinstance(key, str):
                    raise ValueError(
                        f"value has type {type_name(key)}; should be string"
                        if key is not None
                        else "value is nil; should be of type string"
                    )
                value = entry(value, key)
            case _:
                raise ValueError(f"can't index item of type {type_name(value)}")
    return value


def cut(value: Any, *bounds: Any) -> Any:
    """Go's `slice`: `value[low:high]`, in bytes of UTF-8 where it is a string."""
    if value is None:
        raise ValueError("slice of untyped nil")
    if len(bounds) > 3:
        raise ValueError(f"too many slice indexes: {len(bounds)}")
    if not isinstance(value, str | list):
        raise ValueError(f"can't slice item of type {type_name(value)}")
    if isinstance(value, str) and len(bounds) == 3:
        raise ValueError("cannot 3-index slice a string")
    whole = value.encode() if isinstance(value, str) else value
    ends = [_position(bound, len(whole)) for bound in bounds]
    low, high = (*ends, *(0, len(whole))[len(ends) :])[:2]
    if low > high:
        raise ValueError(f"invalid slice index: {low} > {high}")
    if len(ends) == 3 and high > ends[2]:
        raise ValueError(f"invalid slice index: {high} > {ends[2]}")
    part = whole[low:high]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _printf(layout: Any, *values: Any) -> str:
    return sprintf(_as_text(layout), values)


def _as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


_HTML = str.maketrans(
    {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


def _escapable(values: Sequence[Any]) -> str:
    return sprint(["<no value>" if value is None else value for value in values])


def _javascript(*values: Any) -> str:
    text = _escapable(values)
    if 6 * len(text) > LONGEST:
        raise TooLong
    return "".join(map(_javascript_character, text))


def _javascript_character(character: str) -> str:
    if character in "\\'\"":
        return "\\" + character
    if character in "<>&=" or character < " ":
        return f"\\u{ord(character):04X}"
    if character > "\x7f" and unicodedata.category(character)[0] in "CZ":
        return f"\\u{ord(character):04X}"
    return character


def _call(function: Any, *_values: Any) -> Any:
    """Go's `call`; no value that a template is given is a function."""
    if function is None:
        raise ValueError("call of nil")
    raise ValueError(f"non-function of type {type_name(function)}")


def _today(*layout: Any) -> str:
    for text in layout:  # Ollama accepts a layout and ignores it.
        _as_text(text)
    return date.today().isoformat()


def _yesterday(*layout: Any) -> str:
    _today(*layout)
    return (date.today() - timedelta(days=1)).isoformat()


_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def typescript(value: Any) -> str:
    """A tool's property as a TypeScript type; `any` for all else."""
    if not isinstance(value, Struct) or value.type_name != "api.ToolProperty":
        return "any"
    if alternatives := value.fields["AnyOf"]:
        return " | ".join(typescript(alternative) for alternative in alternatives)
    names: TypeNames = value.fields["Type"]
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in names) or "any"


FUNCTIONS: dict[str, Function] = {
    "and": Function(lambda *values: values[-1], 1, None),
    "or": Function(lambda *values: values[-1], 1, None),
    "not": Function(lambda value: not truth(value), 1, 1),
    "eq": Function(equal, 1, None),
    "ne": Function(lambda a, b: not equal(a, b), 2, 2),
    "lt": Function(less, 2, 2),
    "le": Function(less_or_equal, 2, 2),
    "gt": Function(lambda a, b: not less_or_equal(a, b), 2, 2),
    "ge": Function(lambda a, b: not less(a, b), 2, 2),
    "len": Function(length, 1, 1),
    "index": Function(index, 1, None),
    "slice": Function(cut, 1, None),
    "print": Function(lambda *values: sprint(values), 0, None),
    "printf": Function(_printf, 1, None),
    "println": Function(lambda *values: sprintln(values), 0, None),
    "html": Function(lambda *values: _escapable(values).translate(_HTML), 0, None),
    "js": Function(_javascript, 0, None),
    "urlquery": Function(lambda *values: quote_plus(_escapable(values), safe="~"), 0, None),
    "call": Function(_call, 1, None),
    "json": Function(marshal, 1, 1),
    "currentDate": Function(_today, 0, None),
    "yesterdayDate": Function(_yesterday, 0, None),
    "toTypeScriptType": Function(typescript, 1, 1),
}
