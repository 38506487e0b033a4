"""Tool calls out of a model's text, piece by piece as it comes; what is not a call is content.

A call is given whole, once its end has come.  `find` chooses by the model's template.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from ollmlx.errors import OllmlxError
from ollmlx.prompt.anycalls import AnyCalls
from ollmlx.prompt.callsyntax import SYNTAXES, Syntax, untagged
from ollmlx.prompt.conversation import function_of
from ollmlx.prompt.split import held_back
from ollmlx.wire.native import ToolCallFunction

_MOST_ENDS = 1000
"""Places where a call may end that are tried."""
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
        try:
            return "", self._read(kept)
        except OllmlxError:
            return self._with_rest(kept)

    def _with_rest(self, body: str) -> Found:
        """The first call in a body, and what is read out of the rest as of any text.  Raises
        OllmlxError where there is no call.
        """
        for end in islice(re.finditer(r"[}\]]", body), _MOST_ENDS):
            with suppress(OllmlxError):
                calls = self._read(body[: end.end()])
                rest = CallsIn(self._syntax, self._tools)
                content, more = rest.push(body[end.end() :])
                last, others = rest.finish()
                return content + last, [*calls, *more, *others]
        return "", self._read(body)

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


class Addressed:
    """Parts of a reply, each after the name of who is to get it: a tool, or the user.

    `all`, a line end and content; or a tool's name, a line end and an object; `>>>` between them.
    """

    def __init__(self, syntax: Syntax, tools: Sequence[Any]) -> None:
        self._syntax = syntax
        self._mark = syntax.shape.between
        self._tools = {f"{function_of(tool).get('name')}\n" for tool in tools}
        self._kept = ""
        self._to = ""
        """The head of the part that is being read, with its line end; empty before it has come."""

    def push(self, text: str) -> Found:
        self._kept += text
        content, calls = list[str](), list[ToolCallFunction]()
        while self._head() and self._part(content, calls):
            self._to = ""
        return "".join(content), calls

    def finish(self) -> Found:
        kept, self._kept = self._kept, ""
        if self._to in self._tools:
            call = self._read(kept)
            return ("", call) if call else (self._to + kept, [])
        return ("" if f"{kept}\n" == self._syntax.answer and not self._to else kept), []

    def _head(self) -> bool:
        """Takes the head of a part out of what is kept; whether one has come."""
        if self._to:
            return True
        heads = (self._syntax.answer, *self._tools)
        self._to = next((head for head in heads if self._kept.startswith(head)), "")
        if not self._to and not any(head.startswith(self._kept) for head in heads):
            self._to = self._syntax.answer  # without a head all is content
        elif self._to:
            self._kept = self._kept.removeprefix(self._to)
        return bool(self._to)

    def _part(self, content: list[str], calls: list[ToolCallFunction]) -> bool:
        """Reads on in the part; whether it has ended."""
        return self._call(calls) if self._to in self._tools else self._all(content)

    def _all(self, content: list[str]) -> bool:
        before, ended, rest = self._kept.partition(self._mark)
        sure = len(before) - (0 if ended else held_back(before, self._mark))
        content.append(before[:sure])
        self._kept = rest if ended else before[sure:]
        return bool(ended)

    def _call(self, calls: list[ToolCallFunction]) -> bool:
        """Reads the call that has begun; whether it was there to its end."""
        end = self._kept.find(self._mark)
        while end >= 0 and not (found := self._read(self._kept[:end])):
            end = self._kept.find(self._mark, end + 1)  # it was in a text of the arguments
        if end < 0:
            return False
        calls += found
        self._kept = self._kept[end + len(self._mark) :]
        return True

    def _read(self, body: str) -> list[ToolCallFunction]:
        try:
            found = self._syntax.read(self._to + body, ())
        except ValueError:
            return []
        return [ToolCallFunction(name, arguments) for name, arguments in found]


def addresses(source: str, tag: str) -> bool:
    """Whether a reply has to be read as calls even where there are no tools."""
    syntax = _marked(source, tag)
    return bool(syntax and syntax.answer)


def find(source: str, tag: str, tools: Sequence[Any]) -> ToolCallParser:
    """The parser for the replies of a model with this template.

    `tag` is the tag of a Go template's calls: those are read generically, as Ollama does.
    """
    syntax = _marked(source, tag)
    if syntax is None:
        return AnyCalls(tag or "{", tools)
    return Addressed(syntax, tools) if syntax.answer else CallsIn(syntax, tools)


def syntax_of(source: str, tag: str) -> Syntax:
    """How a model with this template writes its calls; arguments as those of `find`."""
    return _marked(source, tag) or untagged(source, tag or "{")


def _marked(source: str, tag: str) -> Syntax | None:
    marked = (syntax for syntax in SYNTAXES if syntax.marks(source))
    return None if tag else next(marked, None)
