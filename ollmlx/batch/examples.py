"""A value that a JSON Schema describes: what a table without answers takes its columns from."""

from collections.abc import Mapping
from typing import Any

_OF_TYPE = {"string": "", "integer": 0, "number": 0.0, "boolean": False}
_ABOVE = ("anyOf", "oneOf", "allOf")
_Schema = Mapping[str, Any]


def example(schema: _Schema) -> Any:
    """With all properties, and one item in each list; None where nothing says what it would be."""
    return _example(schema, schema, ())


def _example(schema: Any, root: _Schema, within: tuple[str, ...]) -> Any:
    """`within` are the definitions that it stands in: one that holds itself is None."""
    if not isinstance(schema, Mapping):
        return None
    if reference := schema.get("$ref"):
        found = None if reference in within else _definition(reference, root)
        return _example(found, root, (*within, reference))
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return values[0]
    above = [one for word in _ABOVE for one in schema.get(word, [])]
    made = (_example(one, root, within) for one in above)
    return next((one for one in made if one is not None), _of_type(schema, root, within))


def _of_type(schema: _Schema, root: _Schema, within: tuple[str, ...]) -> Any:
    kinds = schema.get("type", "")
    kind = next((one for one in kinds if one != "null"), "") if isinstance(kinds, list) else kinds
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items")]
        return [_example(item, root, within) for item in items]
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        return {name: _example(one, root, within) for name, one in properties.items()}
    return _OF_TYPE.get(kind)


def _definition(reference: str, root: _Schema) -> Any:
    """Of `#/$defs/Name`."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) and part else found
    return found
