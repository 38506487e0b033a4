"""Messages and tools as the Go values that Ollama hands to its templates.

Source: Ollama's `template/template.go` and `api/types.go` as of 2026-08.  JSON Schema words that
Ollama's types do not know (`default`, `format`, `minimum`, …) are left out, as there.  A tool and
its `.Properties` print as JSON, its `.Function` as Go prints a struct, as there since 0.14.0 (issue
#14601).
"""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from ollmlx.prompt.conversation import check_depth, function_of
from ollmlx.prompt.gotemplate import JSONMap, JSONSlice, JSONStruct, Slice, Struct, TypeNames
from ollmlx.wire.native import Message, ToolCall

_EXACT = 2**53
"""Go reads JSON numbers as float64; integers beyond this would change, so they stay integers."""


def merged(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role as one message, but for tools' results."""
    kept: list[Message] = []
    for message in messages:
        if kept and kept[-1].role == message.role != "tool":
            kept[-1] = _with_content(kept[-1], f"{kept[-1].content}\n\n{message.content}")
        else:
            kept.append(message)
    return kept


def _with_content(message: Message, content: str) -> Message:
    return Message(
        role=message.role,
        content=content,
        thinking=message.thinking,
        images=message.images,
        tool_calls=message.tool_calls,
        tool_name=message.tool_name,
        tool_call_id=message.tool_call_id,
    )


def message_view(message: Message) -> Struct:
    calls = [_call_view(call) for call in message.tool_calls]
    return Struct(
        "*template.templateMessage",
        {
            "Role": message.role,
            "Content": message.content,
            "Thinking": message.thinking,
            "Images": Slice("[]api.ImageData", [*map(b64decode, message.images)] or None),
            "ToolCalls": Slice("[]template.templateToolCall", calls or None),
            "ToolName": message.tool_name,
            "ToolCallID": message.tool_call_id,
        },
    )


def _call_view(call: ToolCall) -> Struct:
    check_depth(call.function.arguments)
    function = {
        "Index": call.function.index,
        "Name": call.function.name,
        "Arguments": JSONMap(as_decoded(call.function.arguments)),
    }
    return Struct(
        "template.templateToolCall",
        {"ID": call.id, "Function": Struct("template.templateToolCallFunction", function)},
    )


def as_decoded(value: Any) -> Any:
    """JSON as Go decodes it: all numbers are floats."""
    if isinstance(value, dict):
        return {key: as_decoded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_decoded(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _EXACT:
        return float(value)
    return value


def tools_view(tools: Sequence[Any]) -> JSONSlice:
    check_depth(list(tools))
    return JSONSlice("template.templateTools", [*map(_tool_view, tools)] or None)


def _tool_view(tool: Any) -> Struct:
    given, function = tool if isinstance(tool, dict) else {}, function_of(tool)
    inner = {
        "Name": given_text(function.get("name")),
        "Description": given_text(function.get("description")),
        "Parameters": _parameters_view(function.get("parameters")),
    }
    wire = {name.lower(): value for name, value in inner.items()}
    view = Struct("template.templateToolFunction", inner, wire)
    items = as_decoded(given.get("items"))
    fields = {"Type": given_text(given.get("type")), "Items": items, "Function": view}
    wire = {"type": fields["Type"], **present({"items": items}), "function": view}
    return JSONStruct("template.templateTool", fields, wire)


def given_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def names_in(value: Any) -> Slice:
    listed = value if isinstance(value, list) else None
    return Slice("[]string", listed and [name for name in listed if isinstance(name, str)])


def _parameters_view(given: Any) -> Struct:
    kind, more, views = parameter_parts(given)
    shown = JSONMap(views, "template.templateProperties", property_view(None))
    fields = {
        "Type": kind,
        "Defs": more["$defs"],
        "Items": more["items"],
        "Required": more["required"],
        "Properties": shown,
    }
    wire = {"type": kind, **present(more), "properties": shown}
    return Struct("template.templateToolFunctionParameters", fields, wire)


def parameter_parts(given: Any) -> tuple[str, dict[str, Any], dict[str, Struct] | None]:
    """A tool's parameters: their type, what may be said besides, the views of the properties."""
    given = given if isinstance(given, dict) else {}
    properties = given.get("properties")
    views = None
    if isinstance(properties, dict):
        views = {name: property_view(each) for name, each in properties.items()}
    more = {
        "$defs": as_decoded(given.get("$defs")),
        "items": as_decoded(given.get("items")),
        "required": names_in(given.get("required")),
    }
    return given_text(given.get("type")), more, views


def present(values: dict[str, Any]) -> dict[str, Any]:
    """What Go's `omitempty` writes: empty slices are left out, other values only where nil."""
    empty = (value is None or value == "" or value == [] for value in values.values())
    return {name: values[name] for name, gone in zip(values, empty, strict=True) if not gone}


def property_view(given: Any) -> Struct:
    """One property of a tool; templates print its `.Type` and `.Description`."""
    given = given if isinstance(given, dict) else {}
    kind, inner, listed = given.get("type"), given.get("properties"), given.get("anyOf")
    views = {k: property_view(v) for k, v in inner.items()} if isinstance(inner, dict) else {}
    fields = {
        "AnyOf": Slice("[]api.ToolProperty", listed and [property_view(each) for each in listed]),
        "Type": TypeNames("api.PropertyType", [kind] if isinstance(kind, str) else kind),
        "Items": as_decoded(given.get("items")),
        "Description": given_text(given.get("description")),
        "Enum": Slice("[]interface {}", as_decoded(given.get("enum"))),
        # Only the outermost properties are a sorted map in Ollama; these keep their order.
        "Properties": None if inner is None else Struct("*api.ToolPropertiesMap", {}, views),
        "Required": names_in(given.get("required")),
    }
    written = {name[0].lower() + name[1:]: value for name, value in fields.items()}
    return Struct("api.ToolProperty", fields, present(written))
