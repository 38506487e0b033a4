"""The `input` of a response → Ollama's messages."""

from typing import Any

from ollmlx.api.openai.messages import image_of
from ollmlx.errors import Malformed
from ollmlx.wire import responses as wire
from ollmlx.wire.decode import json_kind, mismatch, parse_whole
from ollmlx.wire.native import Message, ToolCall, ToolCallFunction

_NO_VALUE = "json: cannot unmarshal {} into Go value of type {}"
_LIST = "[]json.RawMessage"
_PART = r'struct { Type string "json:\"type\"" }'
_ITEM = r'struct { Type string "json:\"type\""; Role string "json:\"role\"" }'
"""What Ollama takes a value for until it knows its type."""
_PARTS = {
    "input_text": "ResponsesTextContent",
    "output_text": "ResponsesOutputTextContent",
    "input_image": "ResponsesImageContent",
}


def native_messages(request: wire.ResponsesRequest, before: list[Any]) -> list[Message]:
    """`before` are the items that the input goes on from.  Raises `Malformed` naming the item."""
    conversation = _Conversation()
    if request.instructions:
        conversation.messages.append(Message("system", request.instructions))
    items = [*before, *input_items(request.input)]
    for index, item in enumerate(items):
        conversation.take(index - len(before), item, items[index + 1 : index + 2])
    return conversation.ended()


def input_items(said: Any) -> list[Any]:
    """Raises `Malformed`."""
    match said:
        case None | "":
            return []
        case str(text):
            return [{"role": "user", "content": text}]
        case [*items]:
            return items
    raise Malformed(f"input must be a string or array: {_no(said, _LIST)}")


class _Conversation:
    """Messages so far.  Thoughts are an item of their own and wait for the message they led to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._thoughts = ""

    def take(self, index: int, item: Any, following: list[Any]) -> None:
        where = f"input[{index}]: "
        item = _object(item, where, _ITEM)
        kind = _text(item, "type", where) or ("message" if _text(item, "role", where) else "")
        match kind:
            case "message":
                self._message(item, where, following)
            case "function_call":
                self._call(item, where)
            case "function_call_output":
                self._output(item, where)
            case "reasoning":
                self._thoughts = _text(item, "encrypted_content", where, "ResponsesReasoningInput")
            case "web_search_call":
                pass  # what it found is in the message that follows
            case "":
                raise Malformed(f"{where}input item missing required 'type' field")
            case _:
                raise Malformed(f'{where}unknown input item type: "{kind}"')

    def ended(self) -> list[Message]:
        """All messages; thoughts that led to none are one."""
        if self._thoughts:
            self.messages.append(Message("assistant", thinking=self._taken_thoughts()))
        return self.messages

    def _message(self, item: dict[str, Any], where: str, following: list[Any]) -> None:
        role = _text(item, "role", where)
        text, images = _content(item.get("content"), where, "content")
        message = Message("system" if role == "developer" else role, text, images=images)
        if role == "assistant":
            message.thinking = self._taken_thoughts()
            if self._belongs_to_call(following):
                self._merge(message)
                return
        self.messages.append(message)

    def _belongs_to_call(self, following: list[Any]) -> bool:
        """Whether the last message has the call whose output comes next: the output has to stand
        right behind it.
        """
        match following:
            case [{"type": "function_call_output", "call_id": str(call_id)}] if call_id:
                last = self.messages[-1] if self.messages else Message()
                return any(call.id == call_id for call in last.tool_calls)
        return False

    def _merge(self, message: Message) -> None:
        last = self.messages[-1]
        last.content = "\n".join(filter(None, (last.content, message.content)))
        last.images = [*last.images, *message.images]
        last.thinking = message.thinking or last.thinking

    def _call(self, item: dict[str, Any], where: str) -> None:
        call_id, name, arguments = (
            _text(item, field, where, "ResponsesFunctionCall")
            for field in ("call_id", "name", "arguments")
        )
        call = ToolCall(ToolCallFunction(name, _arguments(arguments)), call_id)
        if not self.messages or self.messages[-1].role != "assistant":
            self.messages.append(Message("assistant"))
        last = self.messages[-1]
        last.tool_calls = [*last.tool_calls, call]
        last.thinking = self._taken_thoughts() or last.thinking

    def _output(self, item: dict[str, Any], where: str) -> None:
        text, images = _content(item.get("output"), where, "output")
        call_id = _text(item, "call_id", where)
        calls = [call for message in self.messages for call in message.tool_calls]
        name = next((c.function.name for c in reversed(calls) if c.id == call_id), "")
        self.messages.append(
            Message("tool", text, images=images, tool_name=name, tool_call_id=call_id)
        )

    def _taken_thoughts(self) -> str:
        thoughts, self._thoughts = self._thoughts, ""
        return thoughts


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = parse_whole(text) if text else {}
    except Malformed as error:
        raise Malformed(f"failed to parse function call arguments: {error}") from error
    if not isinstance(found, dict | None):
        raise Malformed("failed to parse function call arguments: they are no JSON object")
    return found or {}


def _content(value: Any, where: str, name: str) -> tuple[str, list[str]]:
    """The text and the images of a `content` or an `output`."""
    match value:
        case None:
            return "", []
        case str(text):
            return text, []
        case [*parts]:
            found = [_part(part, f"{where}{name}[{i}]: ") for i, part in enumerate(parts)]
            texts, images = [text for text, _ in found], [image for _, image in found]
            return "".join(texts), [image for image in images if image]
    raise Malformed(f"{where}{name} must be a string or array: {_no(value, _LIST)}")


def _part(part: Any, where: str) -> tuple[str, str]:
    """A part's text, and its image."""
    part = _object(part, where, _PART)
    match _text(part, "type", where):
        case "input_text" | "output_text" as kind:
            return _text(part, "text", where, _PARTS[kind]), ""
        case "input_image" as kind:
            url = _text(part, "image_url", where, _PARTS[kind])
            return "", image_of(url) if url else ""
        case "input_file":
            raise Malformed("file inputs are not currently supported")
        case kind:
            raise Malformed(f"{where}unknown content type: {kind}")


def _object(value: Any, where: str, kind: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{where}{_no(value, kind)}")
    return value


def _no(value: Any, kind: str) -> str:
    return _NO_VALUE.format(json_kind(value), kind)


def _text(item: dict[str, Any], name: str, where: str, kind: str = "") -> str:
    """`kind` is what Ollama calls such an item."""
    value = item.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{where}{mismatch(value, str, f'{kind}.{name}')}")
    return value
