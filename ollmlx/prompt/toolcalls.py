"""Tool calls out of a model's text, piece by piece as it comes; what is not a call is content.

A call is given whole, once its end has come.  `find` chooses by the model's template.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from ollmlx.errors import OllmlxError
from ollmlx.prompt.anycalls import AnyCalls
from ollmlx.prompt.callsyntax import SYNTAXES, Syntax, untagged
from ollmlx.prompt.split import held_back
from ollmlx.wire.native import ToolCallFunction

Found = tuple[str, list[ToolCallFunction]]
"""Content, and the calls that came after it."""


class ToolCallParser(Protocol):
    def push(self, text: str) -> Found:
        """Raises OllmlxError for a call that cannot be read."""
        ...

    def finish(self) -> Found:
        """What is left at the end of the text."""
        ...


class CallsIn:
    """Any number of calls between the tags of one syntax; white space around them is dropped."""

    def __init__(self, syntax: Syntax, tools: Sequence[Any]) -> None:
        self._syntax = syntax
        self._tools = tools
        self._kept = ""
        self._inside = False
        self._after_call = False

    def push(self, text: str) -> Found:
        self._kept += text
        content, calls = list[str](), list[ToolCallFunction]()
        while self._call(calls) if self._inside else self._content(content):
            pass
        return "".join(content), calls

    def finish(self) -> Found:
        kept, self._kept = self._kept, ""
        if not self._inside:
            return ("" if self._after_call else kept), []
        if self._syntax.closing:
            # It ended amid a call: some models leave out the last tag, others were cut short.
            try:
                return "", self._read(kept)
            except OllmlxError:
                return self._syntax.opening + kept, []
        return "", self._read(kept)

    def _content(self, content: list[str]) -> bool:
        """Moves what is surely content out of what is kept; whether a call has begun."""
        if self._after_call:
            self._kept = self._kept.lstrip()
            self._after_call = not self._kept
        before, opening, rest = self._kept.partition(self._syntax.opening)
        if opening:
            content.append(before.rstrip())
            self._kept, self._inside = rest, True
            return True
        sure = before[: len(before) - held_back(before, self._syntax.opening)].rstrip()
        content.append(sure)
        self._kept = before[len(sure) :]
        return False

    def _call(self, calls: list[ToolCallFunction]) -> bool:
        """Reads the call that has begun; whether it was there to its end."""
        closing = self._syntax.closing
        if not closing or closing not in self._kept:
            return False
        body, _, self._kept = self._kept.partition(closing)
        calls += self._read(body)
        self._inside, self._after_call = False, True
        return True

    def _read(self, body: str) -> list[ToolCallFunction]:
        try:
            found = self._syntax.read(body, self._tools)
        except ValueError as error:
            raise OllmlxError(f"failed to parse tool call: {error}") from error
        return [ToolCallFunction(name, arguments) for name, arguments in found]


def find(source: str, tag: str, tools: Sequence[Any]) -> ToolCallParser:
    """The parser for the replies of a model with this template.

    `tag` is the tag of a Go template's calls: those are read generically, as Ollama does.
    """
    syntax = _marked(source, tag)
    return CallsIn(syntax, tools) if syntax else AnyCalls(tag or "{", tools)


def syntax_of(source: str, tag: str) -> Syntax:
    """How a model with this template writes its calls; arguments as those of `find`."""
    return _marked(source, tag) or untagged(source, tag or "{")


def _marked(source: str, tag: str) -> Syntax | None:
    marked = (syntax for syntax in SYNTAXES if syntax.marks(source))
    return None if tag else next(marked, None)
