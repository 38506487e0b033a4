"""A model's text as a message: thoughts, content and tool calls, piece by piece as it comes."""

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ollmlx.prompt import syntax, toolcalls
from ollmlx.prompt.glimmer import GlimmerParser
from ollmlx.prompt.harmony import HarmonyParser
from ollmlx.prompt.render import Template
from ollmlx.prompt.split import ThinkingSplitter
from ollmlx.wire.native import ReplyFunction, ReplyToolCall, ToolCallFunction

_ALPHABET = string.ascii_lowercase + string.digits


@dataclass
class Parts:
    """What a piece of text turned out to be."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCallFunction] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.content or self.thinking or self.tool_calls)

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(
            self.content + other.content,
            self.thinking + other.thinking,
            [*self.tool_calls, *other.tool_calls],
        )

    def reply_calls(self, first: int = 0) -> list[ReplyToolCall]:
        """The calls as an answer holds them, each with a new id, counted from `first`."""
        return [
            ReplyToolCall(
                id="call_" + "".join(secrets.choice(_ALPHABET) for _ in range(8)),
                function=ReplyFunction(index, call.name, call.arguments),
            )
            for index, call in enumerate(self.tool_calls, start=first)
        ]


class ReplyParser:
    """Reads the reply to a prompt that a template made.

    Thoughts are looked for when they were asked for, calls when there are tools; a text with
    neither passes through as it is.  Raises OllmlxError for a call that cannot be read.
    """

    def __init__(
        self,
        template: Template | None,
        tools: Sequence[Any] = (),
        think: bool | str | None = None,
        prompt: str = "",
    ) -> None:
        self._splitter: ThinkingSplitter | None = None
        self._calls: toolcalls.ToolCallParser | None = None
        self._harmony: HarmonyParser | None = None
        self._answering = ReplyParser.plain
        if template is None:
            return
        self._answering = lambda: ReplyParser(template, tools)
        if syntax.speaks_harmony(template.source):
            self._harmony = HarmonyParser(prompt)
            return
        if tools or toolcalls.addresses(template.source, template.tool_tag):
            self._calls = toolcalls.find(template.source, template.tool_tag, tools)
        if syntax.speaks_glimmer(template.source):
            self._harmony = GlimmerParser(prompt, self._calls)
            return
        if think and template.thinking:
            opening, closing = template.thinking
            started = prompt.rstrip().endswith(opening.strip())
            self._splitter = ThinkingSplitter(opening, closing, started)

    @classmethod
    def plain(cls) -> "ReplyParser":
        """A parser that takes all for content."""
        return cls(None)

    @property
    def thinking(self) -> bool:
        """Whether thoughts may still come."""
        thinker = self._harmony or self._splitter
        return thinker is not None and not thinker.answering

    def answer(self, written: str, plain: bool) -> tuple[str, "ReplyParser"]:
        """What goes behind the prompt so that the answer alone is left to write, and its parser.

        `written` is all that was pushed, of which the thoughts are kept; a `plain` answer is
        nothing but content.
        """
        thinker = self._harmony or self._splitter
        thoughts = thinker.closed(written) if thinker else ""
        if plain:
            final = self._harmony.final if self._harmony else ""
            return thoughts + final, ReplyParser.plain()
        return thoughts, self._answering()

    def push(self, text: str) -> Parts:
        """What a piece of the reply completes."""
        if self._harmony:
            return Parts(*self._harmony.push(text))
        thoughts, content = self._splitter.push(text) if self._splitter else ("", text)
        if not self._calls or not content:
            return Parts(content, thoughts)
        content, calls = self._calls.push(content)
        return Parts(content, thoughts, calls)

    def finish(self) -> Parts:
        """What is left at the end of the reply."""
        if self._harmony:
            return Parts(*self._harmony.finish())
        thoughts, rest = self._splitter.finish() if self._splitter else ("", "")
        if not self._calls:
            return Parts(rest, thoughts)
        before, calls = self._calls.push(rest)
        content, more = self._calls.finish()
        return Parts(before + content, thoughts, [*calls, *more])
