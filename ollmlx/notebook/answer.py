"""An answer while it grows: what a cell shows of it, and what is left of it in a variable."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from IPython.display import display
from ollama import ChatResponse, Message

from ollmlx.batch.progress import in_kernel
from ollmlx.batch.shapes import FREE, Misshapen, Shape
from ollmlx.markdown import inert
from ollmlx.maths import in_dollars
from ollmlx.notebook.errors import Failed
from ollmlx.notebook.saying import code
from ollmlx.notebook.tools import Call

_NANOSECONDS = 1e9
_MORE = "--num-predict allows more tokens"


@dataclass
class Answer:
    """What a model said to one cell."""

    model: str
    text: str = ""
    thinking: str = ""
    done_reason: str = ""
    """`stop`, `length`, … of the API, or `interrupted`."""
    shape: Shape = FREE
    """What `--format` asked for."""
    calls: list[Call] = field(default_factory=list)
    """Functions that were called, and what they gave."""
    stats: dict[str, int] = field(default_factory=dict)
    """The API's counts (tokens) and durations (nanoseconds), of the last turn."""
    asked: list[Message.ToolCall] = field(default_factory=list, repr=False)
    """Calls that the turn under way asks for."""
    turn: str = field(default="", repr=False)
    """Text of the turn under way."""

    def begin_turn(self) -> None:
        """Between two calls of functions a model may say something, too."""
        self.text += "\n\n" if self.turn else ""
        self.asked, self.turn = [], ""

    def called(self, calls: Sequence[Call]) -> None:
        self.calls += calls

    def add(self, part: ChatResponse) -> None:
        self.turn += part.message.content or ""
        self.text += part.message.content or ""
        self.thinking += part.message.thinking or ""
        self.asked += part.message.tool_calls or []
        if part.done:
            self.done_reason = part.done_reason or ""
            numbers = part.model_dump(exclude_none=True)
            self.stats = {
                key: n for key, n in numbers.items() if key.endswith(("_count", "_duration"))
            }

    @property
    def value(self) -> Any:
        """What `--format` makes of the text; without one, the text.  Raises `Failed`."""
        try:
            return self.shape.read(self._last)
        except Misshapen as error:
            cut = self.done_reason == "length"
            why = f"; it was cut off: {_MORE}" if cut else ""
            raise Failed(f"{error}{why}") from error

    def json(self) -> Any:
        """The value of an answer made with `--format`, as JSON has it.  Raises `ValueError`."""
        return json.loads(self._last)

    @property
    def _last(self) -> str:
        """What came behind the last calls: the shape is of that alone."""
        return self.turn or self.text

    @property
    def tokens_per_second(self) -> float:
        seconds = self.stats.get("eval_duration", 0) / _NANOSECONDS
        return self.stats.get("eval_count", 0) / seconds if seconds else 0.0

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.bundle()["text/markdown"]

    def bundle(self) -> dict[str, str]:
        """The answer as MIME types: front ends show the richest they know."""
        shown = f"```json\n{self.text}\n```" if self.shape.is_json and self.text else self.text
        called = "\n>\n".join(f"> {code(str(call))} → {code(call.result)}" for call in self.calls)
        parts = [self._folded(), inert(called), inert(shown.lstrip("\n"))]
        return {
            "text/plain": "\n".join([*map(_plainly, self.calls), self.text]),
            "text/markdown": in_dollars("\n\n".join(part for part in parts if part)),
        }

    def _folded(self) -> str:
        if not self.thinking:
            return ""
        summary = "Thinking" if self.text else "Thinking …"
        # Blank lines around it: what is between them is Markdown.
        return f"<details><summary>{summary}</summary>\n\n{inert(self.thinking)}\n\n</details>"

    @property
    def empty(self) -> bool:
        return not (self.text or self.thinking or self.calls)


def _plainly(call: Call) -> str:
    return f"{call} → {call.result}"


class View(Protocol):
    """Where a growing answer is shown."""

    def show(self, answer: Answer) -> None: ...
    def close(self, answer: Answer) -> None:
        """Show what is still missing."""


class MarkdownView:
    """One output of a cell, replaced as the answer grows.

    Each update carries the whole text, so their rate falls with its length, from 10 to 2 a second:
    at every token, a 9 kB answer kept a browser busy for 53 s; like this, 4.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next = now()
        self._handle: Any = None

    def show(self, answer: Answer) -> None:
        if self._now() >= self._next and not answer.empty:
            self._update(answer)
            length = len(answer.text) + len(answer.thinking)
            self._next = self._now() + min(0.5, max(0.1, length / 20_000))

    def close(self, answer: Answer) -> None:
        if not answer.empty:
            self._update(answer)

    def _update(self, answer: Answer) -> None:
        if self._handle is None:
            self._handle = display(answer.bundle(), raw=True, display_id=True)
        else:
            self._handle.update(answer.bundle(), raw=True)


class PlainView:
    """Text as it comes, for terminals and for tools that read a cell's output as a stream."""

    def __init__(self) -> None:
        self._shown = self._calls = 0

    def show(self, answer: Answer) -> None:
        for call in answer.calls[self._calls :]:
            sys.stdout.write(f"\n{_plainly(call)}\n" if self._shown else f"{_plainly(call)}\n")
        self._calls = len(answer.calls)
        sys.stdout.write(answer.text[self._shown :])
        sys.stdout.flush()
        self._shown = len(answer.text)

    def close(self, answer: Answer) -> None:
        self.show(answer)
        sys.stdout.write("\n" if answer.text else "")


def new_view() -> View:
    """Markdown where a front end shows it, unless OLLMLX_PLAIN says otherwise."""
    return MarkdownView() if in_kernel() else PlainView()
