"""JSON Schemas as Gemma 4 is told them: `name:{description:<|"|>…<|"|>,type:<|"|>STRING<|"|>}`.

Source: Ollama's `model/renderers/gemma4.go` as of 2026-08.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from ollmlx.prompt.gotemplate.printing import text_of
from ollmlx.prompt.gotemplate.values import Struct

_Schema = dict[str, Any]
QUOTE = '<|"|>'
_STANDARD = {"description", "type", "properties", "required", "nullable"}


def loose(value: Any, quote: str, nothing: str) -> str:
    """A value with its texts between `quote` marks and its keys between none, sorted."""
    match value:
        case None:
            return nothing
        case str():
            return f"{quote}{value}{quote}"
        case dict():
            inner = (f"{key}:{loose(value[key], quote, nothing)}" for key in _sorted(value))
            return "{" + ",".join(inner) + "}"
        case list():
            return "[" + ",".join(loose(item, quote, nothing) for item in value) + "]"
        case float() if value.is_integer() and abs(value) < 2**63:
            return str(int(value))
    return text_of(value)


def declared(properties: dict[str, Struct]) -> str:
    """A tool's properties, as `goviews.property_view` gives them."""
    return _properties({name: _spoken(view) for name, view in properties.items()})


def _sorted(value: _Schema) -> list[str]:
    return sorted(value, key=str.encode)


def _spoken(view: Struct) -> _Schema:
    """A property in words of JSON Schema; a union of types is one odd word, as in Gemma's own
    template.
    """
    fields, inner = view.fields, view.fields["Properties"]
    spoken: _Schema = {}
    if kinds := list(fields["Type"]) or _union(fields["AnyOf"]):
        upper = ", ".join(f"'{kind.upper()}'" for kind in kinds)
        spoken["type"] = kinds[0] if len(kinds) == 1 else f"[{upper}]"
    for key, field in (("description", "Description"), ("enum", "Enum"), ("required", "Required")):
        if fields[field]:
            spoken[key] = fields[field]
    if fields["Items"] is not None:
        spoken["items"] = fields["Items"]
    if inner is not None:
        spoken["properties"] = {name: _spoken(each) for name, each in inner.wire.items()}
    return spoken


def _union(alternatives: Iterable[Struct]) -> list[str]:
    """The types of alternatives that are nothing but types."""
    kinds: dict[str, None] = {}
    for alternative in alternatives:
        if set(alternative.wire) != {"type"}:
            return []
        kinds |= dict.fromkeys(alternative.fields["Type"])
    return list(kinds)


def _properties(given: _Schema) -> str:
    named = (
        f"{name}:{{{','.join(_property(given[name]))}}}"
        for name in _sorted(given)
        if name not in _STANDARD and isinstance(given[name], dict)
    )
    return ",".join(named)


def _property(schema: _Schema) -> Iterator[str]:
    if isinstance(told := schema.get("description"), str) and told:
        yield f"description:{QUOTE}{told}{QUOTE}"
    kinds, enum, items = _kinds(schema.get("type")), schema.get("enum"), schema.get("items")
    kind = kinds[0] if kinds else ""
    if kind == "STRING" and isinstance(enum, list) and enum:
        yield f"enum:{_quoted(map(text_of, enum))}"
    if kind == "ARRAY" and isinstance(items, dict) and items:
        yield f"items:{{{','.join(_items(items))}}}"
    if schema.get("nullable") is True:
        yield "nullable:true"
    if kind == "OBJECT":
        inner = schema.get("properties")
        yield f"properties:{{{_properties(inner if isinstance(inner, dict) else schema)}}}"
        if required := _texts(schema.get("required")):
            yield f"required:{_quoted(required)}"
    if kinds:
        yield _type(kinds)


def _items(schema: _Schema) -> Iterator[str]:
    for key in _sorted(schema):
        value = schema[key]
        match key:
            case _ if value is None:
                continue
            case "properties":
                yield f"properties:{{{_properties(value) if isinstance(value, dict) else ''}}}"
            case "required":
                yield f"required:{_quoted(_texts(value))}"
            case "type":
                yield _type(_kinds(value)) if _kinds(value) else ""
            case _:
                yield f"{key}:{_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, dict):
        inner = (f"{QUOTE}{key}{QUOTE}:{_written(value[key])}" for key in _sorted(value))
        return "{" + ",".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return loose(value, QUOTE, "null")


def _type(kinds: list[str]) -> str:
    return f"type:{QUOTE}{kinds[0]}{QUOTE}" if len(kinds) == 1 else f"type:{_quoted(kinds)}"


def _kinds(value: Any) -> list[str]:
    return [kind.upper() for kind in ([value] if isinstance(value, str) else _texts(value))]


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _quoted(texts: Iterable[str]) -> str:
    return "[" + ",".join(f"{QUOTE}{text}{QUOTE}" for text in texts) + "]"
