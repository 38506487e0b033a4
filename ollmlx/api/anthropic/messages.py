"""Anthropic's messages and tools → Ollama's."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ollmlx.errors import Malformed
from ollmlx.wire import anthropic as wire
from ollmlx.wire.decode import from_value
from ollmlx.wire.encode import encode
from ollmlx.wire.native import (
    Message,
    Tool,
    ToolCall,
    ToolCallFunction,
    ToolFunction,
    ToolFunctionParameters,
    ToolProperty,
)
from ollmlx.wire.values import base64_text

WEB_SEARCH = "web_search"
_WEB_SEARCH_TOOL = Tool(
    "function",
    function=ToolFunction(
        WEB_SEARCH,
        "Search the web for current information. Use this to find up-to-date information about"
        " any topic.",
        ToolFunctionParameters(
            "object",
            required=["query"],
            properties={
                "query": ToolProperty(
                    type="string", description="The search query to look up on the web"
                )
            },
        ),
    ),
)
_SEARCH_FAILED = "web_search_tool_result_error"


def native_messages(request: wire.CountTokensRequest) -> list[Message]:
    """One for the system, then for every message one of what is said and one of each result; what
    ends up empty is left out.
    """
    system, called = _system(request.system), dict[str, str]()
    found = [Message("system", system)] if system else []
    for param in request.messages:
        found += _expand(param, called)
    return found


def native_tools(tools: Iterable[wire.Tool]) -> list[Tool]:
    """Anthropic's own web search takes the place of a tool of the client's of that name."""
    searches = searches_web(tools)
    return [_tool(tool) for tool in tools if not (searches and _shadowed(tool))]


def searches_web(tools: Iterable[wire.Tool]) -> bool:
    return any(_is_search(tool) for tool in tools)


def _system(system: Any) -> str:
    match system:
        case None:
            return ""
        case str():
            return system
        case list():
            return _texts(system)
    raise Malformed("system must be a string or an array of text blocks")


def _texts(blocks: list[Any]) -> str:
    found = []
    for block in blocks:
        match block:
            case {"type": "text", "text": str(text)}:
                found.append(text)
    return "".join(found)


def _expand(param: wire.MessageParam, called: dict[str, str]) -> list[Message]:
    """`called` is the names of the tools by the ids of their calls, and grows."""
    said, results = Message(param.role.lower()), list[Message]()
    for block in param.content:
        match block.type:
            case "text":
                said.content += block.text or ""
            case "image":
                said.images.append(_image(block.source))
            case "thinking" if block.thinking is not None:
                said.thinking = block.thinking
            case "tool_use" | "server_tool_use":
                said.tool_calls.append(_call(block))
                called[block.id] = block.name
            case "tool_result" | "web_search_tool_result":
                results.append(_result(block, called))
    spoken = [said] if said.content or said.images or said.tool_calls or said.thinking else []
    return [*results, *spoken] if said.role == "user" else [*spoken, *results]


def _call(block: wire.ContentBlock) -> ToolCall:
    for field in ("id", "name"):
        if block.type == "tool_use" and not getattr(block, field):
            raise Malformed(f"tool_use block missing required '{field}' field")
    return ToolCall(ToolCallFunction(block.name, block.input), block.id)


def _result(block: wire.ContentBlock, called: dict[str, str]) -> Message:
    text, images = "", list[str]()
    if block.type == "web_search_tool_result":
        text = _search_results(block.content)
    elif isinstance(block.content, str):
        text = block.content
    elif isinstance(block.content, list):
        text, images = _texts(block.content), [*_result_images(block.content)]
    name = called.get(block.tool_use_id, "")
    return Message("tool", text, images=images, tool_name=name, tool_call_id=block.tool_use_id)


def _result_images(blocks: list[Any]) -> Iterator[str]:
    for block in blocks:
        match block:
            case {"type": "image", "source": dict(source)}:
                yield _image(from_value(source, wire.ImageSource))
            case {"type": "image"}:
                raise Malformed("invalid tool_result image source")


def _image(source: wire.ImageSource | None) -> str:
    if source is None:
        raise Malformed("invalid image source")
    if source.type != "base64":
        raise Malformed(
            f"invalid image source type: {source.type}. Only base64 images are supported."
        )
    try:
        return base64_text(source.data)
    except Malformed as error:
        raise Malformed(f"invalid base64 image data: {error}") from error


def _search_results(content: Any) -> str:
    """Results of an earlier search, a line each, or why there are none."""
    match content:
        case str():
            return content
        case {"type": "web_search_tool_result_error"}:
            return _search_error(content)
        case list():
            failed = (entry for entry in content if _kind(entry) == _SEARCH_FAILED)
            if (error := next(failed, None)) is not None:
                return _search_error(error)
            hits = (entry for entry in content if _kind(entry) == "web_search_result")
            return "".join(f"- {hit.get('title', '')}: {hit.get('url', '')}\n" for hit in hits)
    return encode(content).decode()


def _search_error(error: dict[str, Any]) -> str:
    return ": ".join(filter(None, (_SEARCH_FAILED, error.get("error_code"))))


def _kind(entry: Any) -> Any:
    return entry.get("type") if isinstance(entry, dict) else None


def _tool(tool: wire.Tool) -> Tool:
    if _is_search(tool):
        return _WEB_SEARCH_TOOL
    try:
        parameters = from_value(tool.input_schema, ToolFunctionParameters)
    except Malformed as error:
        name = json.dumps(tool.name, ensure_ascii=False)
        raise Malformed(f"invalid input_schema for tool {name}: {error}") from error
    return Tool("function", function=ToolFunction(tool.name, tool.description, parameters))


def _is_search(tool: wire.Tool) -> bool:
    return tool.type.startswith(WEB_SEARCH)


def _shadowed(tool: wire.Tool) -> bool:
    return tool.name == WEB_SEARCH and not _is_search(tool)
