"""The wire's Structs as JSON Schemas, the way `decode` reads them and `encode` writes them.

msgspec's own schemas would tell what msgspec decodes; requests are read by Go's rules.
"""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct, UnsetType

from ollmlx.wire.decode import Float32
from ollmlx.wire.values import THINK_LEVELS

Schema = dict[str, Any]
FROM_OUTSIDE = frozenset({"parameter", "user_agent", "anthropic_version", "whole"})
"""Attributes that the path or a header fills, or `decode`, and no key of the body."""
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Float32: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
    Raw: {},
}
_MARKED: dict[str, Schema] = {
    "keep_alive": {
        "description": "Seconds, or a duration such as 5m; a negative one is for ever.",
        "anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}],
    },
    "think": {"anyOf": [{"type": "boolean"}, {"enum": list(THINK_LEVELS)}, {"type": "null"}]},
    "image": {"type": "string", "contentEncoding": "base64"},
    "tool_choice": {
        "anyOf": [
            {"enum": ["auto", "none", "required"]},
            {
                "type": "object",
                "properties": {
                    "type": {"const": "function"},
                    "function": {"type": "object", "properties": {"name": {"type": "string"}}},
                },
            },
            {"type": "null"},
        ]
    },
    "thinking_budget": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
}


class Schemas:
    """Collects a component for every Struct that is referred to, under `module.Name`."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def request(self, kind: Any) -> Schema:
        """What a body may hold: any field may be missing, and null is the same as missing."""
        return self._of(kind, answered=False)

    def inline(self, kind: type[Struct]) -> Schema:
        """The same, not as a component."""
        return self._struct(kind, answered=False)

    def answer(self, kind: Any) -> Schema:
        """What is written: a field is missing only where it has its default value."""
        return self._of(kind, answered=True)

    def _of(self, hint: Any, answered: bool) -> Schema:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._marked(arguments[0], arguments[1], answered)
        if origin in (Union, types.UnionType):
            kinds = [self._of(a, answered) for a in arguments if a is not UnsetType]
            return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is list:
            return {"type": "array", "items": self._of(arguments[0], answered)}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._of(arguments[1], answered)}
        if isinstance(hint, type) and issubclass(hint, Struct):
            return self._reference(hint, answered)
        return dict(_PLAIN[hint])

    def _marked(self, hint: Any, marker: str, answered: bool) -> Schema:
        if marker in _MARKED:
            return _MARKED[marker]
        messages = self._of(hint, answered)
        if marker != "anthropic_messages":
            return messages
        message = self.components["anthropic.MessageParam"]
        # A text is allowed too, of which `items` says nothing.
        message["properties"]["content"] |= {"type": ["string", "array"]}
        message["required"] = ["content"]
        return messages

    def _reference(self, kind: type[Struct], answered: bool) -> Schema:
        name = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
        if name not in self.components:
            self.components[name] = {}  # a Struct may hold itself
            self.components[name] = self._struct(kind, answered)
        return {"$ref": f"#/components/schemas/{name}"}

    def _struct(self, kind: type[Struct], answered: bool) -> Schema:
        hints = get_type_hints(kind, include_extras=True)
        fields = [f for f in msgspec.structs.fields(kind) if f.name not in FROM_OUTSIDE]
        found = {f.encode_name: self._of(hints[f.name], answered) for f in fields}
        written = [f.encode_name for f in fields if _always_written(kind, f)]
        if tag := kind.__struct_config__.tag_field:
            found = {tag: {"const": kind.__struct_config__.tag}, **found}
            written = [tag, *written]
        schema: Schema = {"type": "object", "properties": found}
        return {**schema, "required": written} if answered and written else schema


def _always_written(kind: type[Struct], field: Any) -> bool:
    if UnsetType in get_args(field.type) or field.default is msgspec.UNSET:
        return False
    return bool(field.required) or not kind.__struct_config__.omit_defaults
