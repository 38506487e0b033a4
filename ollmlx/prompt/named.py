"""Prompts as Ollama's built-in renderers write them, by the names that `RENDERER` gives.

Each is a Jinja template in `renderers/`; what a template cannot say, its filters do.  They see
messages and tools as Ollama's own types hold them.  Source: Ollama's `model/renderers` as of
2026-08.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.prompt import syntax
from ollmlx.prompt.conversation import Conversation, check_depth, function_of
from ollmlx.prompt.gemmaschema import declared, loose
from ollmlx.prompt.gotemplate.printing import quoted, text_of
from ollmlx.prompt.gotemplate.values import Slice, Struct, TypeNames, marshal
from ollmlx.prompt.goviews import as_decoded, given_text, parameter_parts, present
from ollmlx.prompt.jinja import Source
from ollmlx.wire.native import Message, ToolCall

_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-vl-thinking": ("qwen3-vl-instruct", {"thinks": True}),
    "qwen3.8": ("qwen3.5", {"always": True, "effort": True}),
    "ornith": ("qwen3.5", {"always": True}),
    "olmo3.1": ("olmo3", {"extended": True}),
    "olmo3-32b-think": ("olmo3-think", {"plain": True}),
    "lfm2-thinking": ("lfm2", {"thinks": True}),
    "nemotron-3.5-nano": ("nemotron-3-nano", {"newer": True}),
    "gemma4-small": ("gemma4", {}),
    "gemma4-large": ("gemma4", {"large": True}),
}
"""Names that share a template, and what tells them apart."""
_TAGS = re.compile(r"((?:\[img-\d+\])+)(?=\S)")
_THOUGHT = re.compile(r"<\|channel>.*?(?:<channel\|>|\Z)", re.DOTALL)
_BETWEEN = re.compile(r'("(?:[^"\\]|\\.)*")|([:,])', re.DOTALL)


class NamedTemplate:
    """The renderer of that name.  Raises OllmlxError with Ollama's text when there is none."""

    tool_tag = ""

    def __init__(self, name: str) -> None:
        known, self._variant = _VARIANTS.get(name, (name, {}))
        file = files("ollmlx.prompt") / "renderers" / f"{known}.jinja"
        if not re.fullmatch(r"[\w.-]+", known) or not file.is_file():
            raise OllmlxError(f"unknown renderer {json.dumps(name)}")
        self.source = file.read_text(encoding="utf-8")
        self._jinja = Source(self.source, _FILTERS)
        self.thinking = syntax.thinking_tags(self.source)

    def render(self, conversation: Conversation) -> str:
        if conversation.fills:
            raise BadRequest("the model's renderer has no place for a suffix")
        check_depth(list(conversation.tools))
        return self._jinja.render(
            {
                **self._variant,
                "messages": _messages(conversation.messages),
                "tools": [_tool(tool) for tool in conversation.tools],
                "think": conversation.think,
            }
        )


@lru_cache(maxsize=32)
def named(name: str) -> NamedTemplate:
    """The same one for the same name.  Raises as `NamedTemplate` does."""
    return NamedTemplate(name)


# -- what the templates see -----------------------------------------------------------------------


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages with their places, and with the results that follow them."""
    shown, results = [_message(message) for message in messages], list[dict[str, Any]]()
    for place, message in reversed([*enumerate(shown)]):
        message |= {"place": place, "results": results[::-1]}
        results = [*results, message] if message["role"] == "tool" else []
    return shown


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    if message.images:
        content = _TAGS.sub(r"\1 ", content, count=1) if _TAGS.match(content) else content
    return {
        "role": message.role,
        "content": content,
        "images": len(message.images),
        "thinking": message.thinking,
        "calls": [_call(call) for call in message.tool_calls],
        "tool_name": message.tool_name,
        "tool_call_id": message.tool_call_id,
    }


def _call(call: ToolCall) -> dict[str, Any]:
    check_depth(call.function.arguments)
    arguments = as_decoded(call.function.arguments)
    whole = Struct("api.ToolCallFunctionArguments", {}, arguments)
    return {
        "id": call.id,
        "name": call.function.name,
        "arguments": list(arguments.items()),
        "whole": whole,
    }


def _tool(tool: Any) -> dict[str, Any]:
    """A tool's fields, and as Structs the parts of it that are written as JSON."""
    given, function = tool if isinstance(tool, dict) else {}, function_of(tool)
    name, description = given_text(function.get("name")), given_text(function.get("description"))
    parameters, properties = _parameters(function.get("parameters"))
    inner = {"name": name, **present({"description": description}), "parameters": parameters}
    items = present({"items": as_decoded(given.get("items"))})
    declared = Struct("api.ToolFunction", {}, inner)
    whole = {"type": given_text(given.get("type")), **items, "function": declared}
    return {
        "name": name,
        "description": description,
        "whole": Struct("api.Tool", {}, whole),
        "function": declared,
        "parameters": parameters,
        "parts": parameters.wire,
        "type": parameters.wire["type"],
        "required": list(parameters.wire.get("required", ())),
        "properties": properties and [(key, _property(view)) for key, view in properties.items()],
    }


def _parameters(given: Any) -> tuple[Struct, dict[str, Struct] | None]:
    kind, more, views = parameter_parts(given)
    ordered = None if views is None else Struct("*api.ToolPropertiesMap", {}, views)
    wire = {"type": kind, **present(more), "properties": ordered}
    return Struct("api.ToolFunctionParameters", {}, wire), views


def _property(view: Struct) -> dict[str, Any]:
    fields = view.fields
    return {
        "types": list(fields["Type"]),
        "description": fields["Description"],
        "parts": view.wire,
        "whole": view,
    }


# -- filters --------------------------------------------------------------------------------------


def _spaced(value: Any) -> str:
    """JSON with a blank after every colon and comma."""
    return _BETWEEN.sub(lambda found: found[1] or f"{found[2]} ", marshal(value))


def _unescaped(value: Any) -> str:
    """The same, `<`, `>` and `&` as they are, but for those in the properties of a tool: Go's
    encoder hands them to another.
    """
    match value:
        case Struct() if value.type_name != "*api.ToolPropertiesMap":
            return _braced(value.wire.items(), _unescaped)
        case dict():
            return _braced(sorted(value.items(), key=lambda item: item[0].encode()), _unescaped)
        case list() if not isinstance(value, Slice) or not value.nil:
            return _bracketed(value, _unescaped)
        case str():
            text = json.dumps(value, ensure_ascii=False)
            return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return _spaced(value)


def _pythonic(value: Any) -> str:
    """JSON with blanks, its texts quoted as Go quotes them."""
    match value:
        case Struct():
            return _braced(value.wire.items(), _pythonic)
        case dict():
            return _braced(sorted(value.items(), key=lambda item: item[0].encode()), _pythonic)
        case list() if not isinstance(value, TypeNames) or len(value) != 1:
            return _bracketed(value, _pythonic)
        case list():
            return quoted(value[0])
        case str():
            return quoted(value)
    return marshal(value)


def _braced(items: Iterable[tuple[str, Any]], write: Callable[[Any], str]) -> str:
    return "{" + ", ".join(f"{write(key)}: {write(value)}" for key, value in items) + "}"


def _bracketed(items: Iterable[Any], write: Callable[[Any], str]) -> str:
    return "[" + ", ".join(map(write, items)) + "]"


def _told(value: Any) -> str:
    """As Python's `str`, lists and objects as `_pythonic`."""
    if isinstance(value, bool) or value is None:
        return str(value)
    return _pythonic(value) if isinstance(value, list | dict) else text_of(value)


def _indented(value: Any) -> str:
    return json.dumps(json.loads(marshal(value)), indent=4, ensure_ascii=False).translate(
        {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
    )


def _printed(value: Any) -> str:
    """An argument as text: texts as they are, lists and objects as JSON, all else as Go prints."""
    if value is None:
        return "null"
    return marshal(value) if isinstance(value, list | dict) else text_of(value)


def _rest(view: Struct, *handled: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the other keys of what JSON makes of a value."""
    for key, value in as_decoded(json.loads(marshal(view))).items():
        if key not in handled and value is not None:
            yield key, _printed(value)


_FILTERS: dict[str, Callable[..., Any]] = {
    "json": marshal,
    "spaced": _spaced,
    "unescaped": _unescaped,
    "indented": _indented,
    "printed": _printed,
    "pythonic": _pythonic,
    "told": _told,
    "loose": loose,
    "gemma": lambda properties: declared({name: each["whole"] for name, each in properties}),
    "unthought": lambda text: _THOUGHT.sub("", text).strip(),
    "rest": lambda view, *handled: list(_rest(view, *handled)),
}


def resolved(renderer: str, model: str, size: str) -> str:
    """The renderer that a name stands for: Gemma 4's depends on how large the model is, which its
    name tells, or `size` (`8.0B`).  Source: Ollama's `server/renderer_resolution.go`.
    """
    if renderer != "gemma4":
        return renderer
    told = re.search(r"(e2b|e4b)|12b|26b|31b", model.lower())
    billions = re.fullmatch(r"([\d.]+)[Bb]", size)
    large = not told[1] if told else billions and float(billions[1]) >= 12
    return "gemma4-large" if large else "gemma4-small"
