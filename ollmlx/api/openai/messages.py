"""OpenAI's messages → Ollama's."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import structs

from ollmlx.errors import Malformed
from ollmlx.wire import openai as wire
from ollmlx.wire.decode import parse_whole
from ollmlx.wire.native import Message, ToolCall, ToolCallFunction
from ollmlx.wire.values import base64_text, go_type

_DATA_URL = re.compile(r"data:(image/(jpeg|jpg|png|webp))?;base64,")


def native_messages(messages: Sequence[wire.Message]) -> list[Message]:
    """Every part of a message's content becomes a message of its own, in order."""
    called = {
        call.id: call.function.name
        for message in messages
        for call in message.tool_calls or []
        if call.id
    }
    return [one for message in messages for one in _expand(message, called)]


def _expand(message: wire.Message, called: dict[str, str]) -> list[Message]:
    """`called` is the functions of all calls by their ids."""
    calls = [_call(call) for call in message.tool_calls or []]
    # Newer clients say `developer` where templates know `system`.
    role = "system" if message.role.lower() == "developer" else message.role.lower()
    tool = message.name or called.get(message.tool_call_id, "") if role == "tool" else ""
    whole = Message(
        role,
        thinking=message.reasoning,
        tool_calls=calls,
        tool_name=tool,
        tool_call_id=message.tool_call_id,
    )
    match message.content:
        case str(text):
            return [structs.replace(whole, content=text)]
        case [] if not calls:
            return []
        case list(parts):
            *rest, last = [*_parts(parts, role)] or [Message(role)]
            return [*rest, structs.replace(whole, content=last.content, images=last.images)]
        case None if message.tool_calls is not None:
            return [whole]
    raise Malformed(f"invalid message content type: {go_type(message.content)}")


def _parts(parts: list[Any], role: str) -> Iterator[Message]:
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                yield Message(role, text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                yield Message(role, images=[image_of(url)])
            case {"type": "input_audio", "input_audio": dict(audio)}:
                yield Message(role, images=[_audio(audio)])
            case {"type": "input_audio"}:
                raise Malformed("invalid input_audio format")
            case _:
                raise Malformed("invalid message format")


def image_of(url: str) -> str:
    """The base64 of a data URL."""
    if url.startswith(("http://", "https://")):
        raise Malformed(
            "image URLs are not currently supported, please use base64 encoded data instead"
        )
    if not (head := _DATA_URL.match(url)):
        raise Malformed("invalid image input")
    try:
        return base64_text(url[head.end() :])
    except Malformed as error:
        raise Malformed("invalid image input") from error


def _audio(audio: dict[str, Any]) -> str:
    data = audio.get("data")
    if not isinstance(data, str):
        raise Malformed("invalid input_audio format: missing data")
    try:
        return base64_text(data)
    except Malformed as error:
        raise Malformed(f"invalid input_audio base64 data: {error}") from error


def _call(call: wire.ToolCall) -> ToolCall:
    try:
        arguments = parse_whole(call.function.arguments)
    except Malformed as error:
        raise Malformed("invalid tool call arguments") from error
    if not isinstance(arguments, dict | None):
        raise Malformed("invalid tool call arguments")
    return ToolCall(ToolCallFunction(call.function.name, arguments or {}), call.id)
