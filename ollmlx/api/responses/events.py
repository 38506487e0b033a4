"""An answer in the events of OpenAI's Responses API.

One item is open at a time; what comes next closes it.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from ollmlx.api.openai.envelope import called_tools
from ollmlx.api.responses.output import (
    Output,
    message_item,
    new_number,
    reasoning_item,
    usage,
)
from ollmlx.errors import OllmlxError
from ollmlx.wire import native, openai
from ollmlx.wire import responses as wire
from ollmlx.wire.encode import in_order

Events = Iterator[wire.Event]


@dataclass
class _Open:
    """The item that is being written."""

    name: str
    text: str = ""
    logprobs: list[native.Logprob] = field(default_factory=list)


class _Thoughts(_Open):
    @property
    def item(self) -> wire.Item:
        return reasoning_item(self.name, self.text)


class _Message(_Open):
    @property
    def item(self) -> wire.Item:
        return message_item(self.name, self.text, self.logprobs)


class Telling:
    """The events of one answer."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._sent = 0
        self._items: list[wire.Item] = []
        self._open: _Thoughts | _Message | None = None
        self._called = False

    async def events(
        self, frames: AsyncGenerator[native.ChatResponse, None]
    ) -> AsyncGenerator[wire.Event, None]:
        """Raises `Forbidden` where the model would search the web."""
        async with aclosing(frames):
            async for frame in frames:
                for event in self._frame(frame):
                    yield event

    def failure(self, error: OllmlxError) -> wire.Event:
        """The last event of an answer that cannot go on."""
        reason = wire.Error("api_error", str(error))
        failed = self._output.response("failed", self._items, error=reason)
        return self._event("response.failed", response=in_order(failed))

    def _frame(self, frame: native.ChatResponse) -> Events:
        said = frame.message
        if not self._sent:
            begun = in_order(self._output.response("in_progress", []))
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)
        if said.thinking:
            yield from self._thought(said.thinking)
        for call in called_tools(said.tool_calls):
            yield from self._call(call)
        # As in a whole answer, what is said beside a call is not told.
        if said.content and not self._called:
            yield from self._say(said.content, frame.logprobs)
        if frame.done:
            yield from self._close()
            ended = self._output.completed(self._items, usage(frame))
            yield self._event("response.completed", response=in_order(ended))

    def _event(self, kind: str, **fields: Any) -> wire.Event:
        number, self._sent = self._sent, self._sent + 1
        return wire.Event(type=kind, sequence_number=number, **fields)

    def _placed(self, kind: str, **fields: Any) -> wire.Event:
        """An event of the item that is open, or comes next."""
        return self._event(kind, output_index=len(self._items), **fields)

    def _thought(self, text: str) -> Events:
        if not isinstance(self._open, _Thoughts):
            yield from self._close()
            self._open = _Thoughts(f"rs_{new_number()}")
            item = wire.ReasoningItem(id=self._open.name)
            yield self._placed("response.output_item.added", item=in_order(item))
        self._open.text += text
        kind, name = "response.reasoning_summary_text.delta", self._open.name
        yield self._placed(kind, item_id=name, summary_index=0, delta=text)

    def _say(self, text: str, logprobs: list[native.Logprob]) -> Events:
        if not isinstance(self._open, _Message):
            yield from self._close()
            self._open = _Message(self._output.message_id)
            item = wire.MessageItem(id=self._open.name, status="in_progress")
            yield self._placed("response.output_item.added", item=in_order(item))
            yield self._of_text("response.content_part.added", part=in_order(wire.Part()))
        self._open.text += text
        self._open.logprobs += logprobs
        yield self._of_text("response.output_text.delta", delta=text, logprobs=logprobs)

    def _of_text(self, kind: str, **fields: Any) -> wire.Event:
        assert self._open
        return self._placed(kind, item_id=self._open.name, content_index=0, **fields)

    def _close(self) -> Events:
        if self._open is None:
            return
        text, item = self._open.text, self._open.item
        if isinstance(item, wire.MessageItem):
            logprobs = self._open.logprobs
            yield self._of_text("response.output_text.done", text=text, logprobs=logprobs)
            yield self._of_text("response.content_part.done", part=in_order(item.content[0]))
        else:
            kind = "response.reasoning_summary_text.done"
            yield self._placed(kind, item_id=self._open.name, summary_index=0, text=text)
        self._open = None
        yield self._done(item)

    def _done(self, item: wire.Item) -> wire.Event:
        event = self._placed("response.output_item.done", item=in_order(item))
        self._items.append(item)
        return event

    def _call(self, call: openai.ToolCall) -> Events:
        yield from self._close()
        if self._output.is_search(call):
            yield from self._search(call)
        name, self._called = f"fc_{new_number()}_{call.index}", True
        item = self._output.call_item(name, call)
        begun = structs.replace(item, status="in_progress", arguments="")
        yield self._placed("response.output_item.added", item=in_order(begun))
        kind = "response.function_call_arguments"
        yield self._placed(f"{kind}.delta", item_id=name, delta=item.arguments)
        yield self._placed(f"{kind}.done", item_id=name, arguments=item.arguments)
        yield self._done(item)

    def _search(self, call: openai.ToolCall) -> Events:
        item = self._output.search_item(call)
        yield self._placed("response.output_item.added", item=in_order(item))
        yield self._placed("response.web_search_call.in_progress", item_id=item.id)
        yield self._placed("response.web_search_call.searching", item_id=item.id)
        raise self._output.no_search
