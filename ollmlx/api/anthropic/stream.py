"""Frames of a chat → the events of Anthropic's stream, block by block."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Literal

from msgspec import Struct

from ollmlx.api.anthropic import answer as answers
from ollmlx.wire import anthropic as wire
from ollmlx.wire.encode import encode
from ollmlx.wire.native import ChatResponse, ReplyToolCall


async def events(
    frames: AsyncGenerator[ChatResponse, None], head: answers.Head, estimate: int
) -> AsyncGenerator[Struct, None]:
    """`estimate` is of the prompt's tokens, whose number Anthropic tells first and we know last."""
    message = _Message(head, estimate)
    async with aclosing(frames):
        async for frame in frames:
            for event in message.events(frame):
                yield event


class _Message:
    """The answer as far as it is written."""

    def __init__(self, head: answers.Head, estimate: int) -> None:
        self._head, self._estimate = head, estimate
        self._begun, self._thought = False, False
        self._open: Literal["", "thinking", "text"] = ""
        self._index = 0
        self._called: set[str] = set()
        self._search: ReplyToolCall | None = None

    def events(self, frame: ChatResponse) -> Iterator[Struct]:
        if not self._begun:
            self._begun = True
            usage = wire.Usage(frame.prompt_eval_count or self._estimate, 0)
            yield wire.MessageStart("message_start", self._head.message([], usage))
        self._search = self._search or answers.web_search(self._head, frame.message.tool_calls)
        if not self._search:
            yield from self._said(frame)
        if frame.done:
            yield from self._end(frame)

    def _said(self, frame: ChatResponse) -> Iterator[Struct]:
        message = frame.message
        if message.thinking and not self._thought:
            yield from self._begin("thinking")
            yield self._delta(wire.ThinkingDelta("thinking_delta", message.thinking))
        if message.content:
            yield from self._begin("text")
            yield self._delta(wire.TextDelta("text_delta", message.content))
        for call in message.tool_calls:
            if call.id not in self._called:
                self._called.add(call.id)
                yield from self._call(call)

    def _begin(self, kind: Literal["thinking", "text"]) -> Iterator[Struct]:
        if self._open == kind:
            return
        yield from self._close()
        self._open = kind
        thinking = kind == "thinking"
        yield self._start(wire.ThinkingBlock(kind, "") if thinking else wire.TextBlock(kind, ""))

    def _close(self) -> Iterator[Struct]:
        if self._open:
            self._thought = self._thought or self._open == "thinking"
            self._open = ""
            yield self._stop()

    def _call(self, call: ReplyToolCall) -> Iterator[Struct]:
        yield from self._close()
        arguments = encode(call.function.arguments).decode()
        yield self._start(wire.ToolUseBlock("tool_use", call.id, call.function.name, {}))
        yield self._delta(wire.InputDelta("input_json_delta", arguments))
        yield self._stop()

    def _end(self, frame: ChatResponse) -> Iterator[Struct]:
        yield from self._close()
        if self._search:
            for block in answers.failed_search(self._head, self._search):
                yield self._start(block)
                yield self._stop()
        called = bool(self._called)
        reason = "end_turn" if self._search else answers.stop_reason(frame.done_reason, called)
        usage = answers.usage(frame)
        yield wire.MessageDelta("message_delta", wire.MessageEnd(reason), usage)
        yield wire.MessageStop("message_stop")

    def _start(self, block: wire.Block) -> Struct:
        return wire.BlockStart("content_block_start", self._index, block)

    def _delta(self, delta: wire.ThinkingDelta | wire.TextDelta | wire.InputDelta) -> Struct:
        return wire.BlockDelta("content_block_delta", self._index, delta)

    def _stop(self) -> Struct:
        self._index += 1
        return wire.BlockStop("content_block_stop", self._index - 1)
