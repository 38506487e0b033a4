"""The `input` of a response → Ollama's messages."""

from itertools import zip_longest
from typing import Any

from ollmlx.api.openai.messages import image_of
from ollmlx.api.responses.tools import qualified
from ollmlx.errors import Malformed
from ollmlx.store.golang import quoted
from ollmlx.wire import responses as wire
from ollmlx.wire.decode import from_value, json_kind, parse_whole
from ollmlx.wire.native import Message, ToolCall, ToolCallFunction
from ollmlx.wire.values import ordered

_ITEMS: dict[str, type[wire.InputItem]] = {
    "message": wire.ResponsesInputMessage,
    "function_call": wire.ResponsesFunctionCall,
    "function_call_output": wire.ResponsesFunctionCallOutput,
    "reasoning": wire.ResponsesReasoningInput,
    "web_search_call": wire.ResponsesWebSearchCall,
}
_CONTENTS: dict[str, type[wire.Content]] = {
    "input_text": wire.ResponsesTextContent,
    "output_text": wire.ResponsesOutputTextContent,
    "input_image": wire.ResponsesImageContent,
    "input_file": wire.ResponsesFileContent,
}


def native_messages(request: wire.ResponsesRequest, before: list[Any]) -> list[Message]:
    """`before` are the items that the input goes on from.  Raises `Malformed` naming the item."""
    conversation = _Conversation()
    if request.instructions:
        conversation.messages.append(Message("system", request.instructions))
    said = [*before, *input_items(request.input)]
    items = [_item(value, f"input[{at}]: ") for at, value in enumerate(said, -len(before))]
    for item, following in zip_longest(items, items[1:]):
        conversation.take(item, following)
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
    raise _no_list(said, "input")


class _Conversation:
    """Messages so far.  Thoughts are an item of their own and wait for the message they led to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._thoughts = ""

    def take(self, item: wire.InputItem, following: wire.InputItem | None) -> None:
        match item:
            case wire.ResponsesInputMessage():
                self._message(item, following)
            case wire.ResponsesFunctionCall():
                self._call(item)
            case wire.ResponsesFunctionCallOutput():
                self._output(item)
            case wire.ResponsesReasoningInput():
                self._thoughts = item.encrypted_content
            case wire.ResponsesWebSearchCall():
                pass  # what it found is in the message that follows

    def ended(self) -> list[Message]:
        """All messages; thoughts that led to none are one."""
        if self._thoughts:
            self.messages.append(Message("assistant", thinking=self._taken_thoughts()))
        return self.messages

    def _message(self, item: wire.ResponsesInputMessage, following: wire.InputItem | None) -> None:
        text, images = _spoken(item.content)
        role = "system" if item.role == "developer" else item.role
        message = Message(role, text, images=images)
        if role == "assistant":
            message.thinking = self._taken_thoughts()
            if self._belongs_to_call(following):
                self._merge(message)
                return
        self.messages.append(message)

    def _belongs_to_call(self, following: wire.InputItem | None) -> bool:
        """Whether the last message has the call whose output comes next: the output has to stand
        right behind it.
        """
        if not isinstance(following, wire.ResponsesFunctionCallOutput) or not self.messages:
            return False
        calls = self.messages[-1].tool_calls
        return bool(following.call_id) and any(call.id == following.call_id for call in calls)

    def _merge(self, message: Message) -> None:
        last = self.messages[-1]
        last.content = "\n".join(filter(None, (last.content, message.content)))
        last.images = [*last.images, *message.images]
        last.thinking = message.thinking or last.thinking

    def _call(self, item: wire.ResponsesFunctionCall) -> None:
        name = qualified(item.namespace, item.name) if item.namespace else item.name
        call = ToolCall(ToolCallFunction(name, _arguments(item.arguments)), item.call_id)
        if not self.messages or self.messages[-1].role != "assistant":
            self.messages.append(Message("assistant"))
        last = self.messages[-1]
        last.tool_calls = [*last.tool_calls, call]
        last.thinking = self._taken_thoughts() or last.thinking

    def _output(self, item: wire.ResponsesFunctionCallOutput) -> None:
        text, images = _spoken(item.output)
        calls = [call for message in self.messages for call in message.tool_calls]
        name = next((c.function.name for c in reversed(calls) if c.id == item.call_id), "")
        self.messages.append(
            Message("tool", text, images=images, tool_name=name, tool_call_id=item.call_id)
        )

    def _taken_thoughts(self) -> str:
        thoughts, self._thoughts = self._thoughts, ""
        return thoughts


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = parse_whole(text) if text else None
        arguments: dict[str, Any] = ordered({} if found is None else found)
    except Malformed as error:
        raise Malformed(f"failed to parse function call arguments: {error}") from error
    return arguments


# -- JSON → items ---------------------------------------------------------------------------------


def _item(value: Any, where: str) -> wire.InputItem:
    """With its contents read.  Raises `Malformed` that begins with `where`."""
    try:
        kind = from_value(value, wire.ItemKind)
        name = kind.type or ("message" if kind.role else "")
        if not name:
            raise Malformed("input item missing required 'type' field")
        if name not in _ITEMS:
            raise Malformed(f"unknown input item type: {quoted(name)}")
        item = from_value(value, _ITEMS[name])
        if isinstance(item, wire.ResponsesInputMessage):
            item.content = _contents(item.content, "content")
        elif isinstance(item, wire.ResponsesFunctionCallOutput):
            item.output = _contents(item.output, "output")
    except Malformed as error:
        raise Malformed(f"{where}{error}") from error
    return item


def _contents(value: Any, name: str) -> list[wire.Content]:
    match value:
        case None:
            return []
        case str(text):
            return [wire.ResponsesTextContent(text)]
        case [*values]:
            return [_content(one, f"{name}[{at}]: ") for at, one in enumerate(values)]
    raise _no_list(value, name)


def _content(value: Any, where: str) -> wire.Content:
    try:
        kind = from_value(value, wire.ContentKind).type
        if kind not in _CONTENTS:
            raise Malformed(f"unknown content type: {kind}")
        return from_value(value, _CONTENTS[kind])
    except Malformed as error:
        raise Malformed(f"{where}{error}") from error


def _no_list(value: Any, name: str) -> Malformed:
    reason = f"json: cannot unmarshal {json_kind(value)} into Go value of type []json.RawMessage"
    return Malformed(f"{name} must be a string or array: {reason}")


def _spoken(contents: list[wire.Content]) -> tuple[str, list[str]]:
    """The text and the images."""
    text, images = "", list[str]()
    for content in contents:
        match content:
            case wire.ResponsesTextContent():
                text += content.text
            case wire.ResponsesImageContent() if content.image_url:
                images.append(image_of(content.image_url))
            case wire.ResponsesFileContent():
                raise Malformed("file inputs are not currently supported")
    return text, images
