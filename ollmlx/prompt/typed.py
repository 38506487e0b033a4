"""Values of a call's arguments, from text that does not say their types.

Source: Ollama's rules for XML-like calls: the tool's declared types are tried in a fixed order.
"""

import ast
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from ollmlx.prompt.conversation import function_of


def load(text: str) -> Any:
    """JSON as models write it: line breaks inside strings are let through.  Raises ValueError."""
    try:
        return json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def types_of(tools: Sequence[Any], function: str, parameter: str) -> list[str]:
    """The types that a tool declares for a parameter, alternatives included."""
    properties = parameters_of(tools, function).get("properties")
    given = properties.get(parameter) if isinstance(properties, dict) else None
    return flattened(given) if isinstance(given, dict) else []


def parameters_of(tools: Sequence[Any], function: str) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments; empty where it declares none."""
    for tool in tools:
        declared = function_of(tool)
        parameters = declared.get("parameters")
        if declared.get("name") == function and isinstance(parameters, dict):
            return parameters
    return {}


def flattened(schema: dict[str, Any]) -> list[str]:
    """The types that a schema allows, alternatives included."""
    kind = schema.get("type")
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    for alternative in schema.get("anyOf") or ():
        kinds += flattened(alternative) if isinstance(alternative, dict) else []
    return kinds


def listed(schema: dict[str, Any]) -> dict[str, Any]:
    """The values that a schema lists, by their texts: those of texts as they are, others JSON."""
    values = [schema["const"]] if "const" in schema else schema.get("enum") or []
    return {value if isinstance(value, str) else json.dumps(value): value for value in values}


def value(text: str, types: Sequence[str]) -> Any:
    """`text` as the first of boolean, integer, number, array, object and string that it can be."""
    text = text.removeprefix("\n").removesuffix("\n")
    if text.lower() == "null":
        return None
    for kind in ("boolean", "integer", "number", "array", "object"):
        if kind in types:
            fitting = _READERS[kind](text.strip())
            if fitting is not None:
                return fitting
    return False if set(types) == {"boolean"} else text


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else None


def _number(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text):
        return None
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**63 else number


def _of_type(text: str, wanted: type) -> Any:
    try:
        loaded = load(text)
    except ValueError:
        return None
    return loaded if isinstance(loaded, wanted) else None


_READERS: dict[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": lambda text: _of_type(text, list),
    "object": lambda text: _of_type(text, dict),
}

_CONSTANTS = {"true": True, "false": False, "null": None}


def python_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """`f(a="x", b=[1])` or a list of such calls, as names and arguments.  Raises ValueError."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a Python call: {error}") from error
    calls = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    return [_python_call(call) for call in calls]


def _python_call(node: ast.expr) -> tuple[str, dict[str, Any]]:
    if not isinstance(node, ast.Call):
        raise ValueError("not a Python call")
    arguments = {word.arg: _literal(word.value) for word in node.keywords if word.arg}
    return ast.unparse(node.func), arguments


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Name(name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.List(items) | ast.Tuple(items):
            return [_literal(item) for item in items]
        case ast.Dict(keys, values):
            return {
                str(_literal(key)): _literal(item)
                for key, item in zip(keys, values, strict=True)
                if key is not None
            }
    return ast.literal_eval(node)


def loose_object(text: str, quote: str) -> dict[str, Any]:
    """Gemma's `{key:<q>text<q>,other:5}`, strings between `quote` marks.  Raises ValueError."""
    pieces = text.split(quote)
    # Every second piece stood between two marks.
    for index, piece in enumerate(pieces):
        pieces[index] = json.dumps(piece) if index % 2 else _quoted_keys(piece)
    loaded = load("".join(pieces))
    if not isinstance(loaded, dict):
        raise ValueError("arguments are not an object")
    return loaded


def _quoted_keys(text: str) -> str:
    return re.sub(r"([{,]\s*)([^\s{}\[\],:\"]+)(\s*:)", r'\1"\2"\3', text)
