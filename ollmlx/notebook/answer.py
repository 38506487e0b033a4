"""An answer while it grows: what a cell shows of it, and what is left of it in a variable."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from IPython.display import display
from ollama import ChatResponse, Message

from ollmlx.batch.progress import in_kernel
from ollmlx.batch.shapes import FREE, Misshapen, Shape
from ollmlx.codes import shown, write
from ollmlx.markdown import in_dollars, inert
from ollmlx.notebook.errors import Failed
from ollmlx.notebook.saying import code
from ollmlx.notebook.tools import Call

_NANOSECONDS = 1e9
INTERRUPTED = "interrupted"
_MORE = "--num-predict allows more tokens"


@dataclass
class Turn:
    """What a model thought, said and called, in this order."""

    text: str = ""
    thinking: str = ""
    asked: list[Message.ToolCall] = field(default_factory=list, repr=False)
    """The calls that it asks for."""
    calls: list[Call] = field(default_factory=list)
    """Functions that are called, and what they gave."""


@dataclass
class Answer:
    """What a model said to one cell."""

    model: str
    turns: list[Turn] = field(default_factory=lambda: [Turn()])
    """The last one is under way, or ended the answer; each one before ended with calls."""
    done_reason: str = ""
    """`stop`, `length`, … of the API, or `interrupted`."""
    shape: Shape = FREE
    """What `--format` asked for."""
    stats: dict[str, int] = field(default_factory=dict)
    """The API's counts (tokens) and durations (nanoseconds), of the last turn."""

    def add(self, part: ChatResponse) -> None:
        turn = self.turns[-1]
        turn.text += part.message.content or ""
        turn.thinking += part.message.thinking or ""
        turn.asked += part.message.tool_calls or []
        if part.done:
            self.done_reason = part.done_reason or ""
            numbers = part.model_dump(exclude_none=True)
            self.stats = {
                key: n for key, n in numbers.items() if key.endswith(("_count", "_duration"))
            }

    @property
    def text(self) -> str:
        return "\n\n".join(turn.text for turn in self.turns if turn.text)

    @property
    def thinking(self) -> str:
        return "\n\n".join(turn.thinking for turn in self.turns if turn.thinking)

    @property
    def calls(self) -> list[Call]:
        return [call for turn in self.turns for call in turn.calls]

    @property
    def interrupted(self) -> bool:
        return self.done_reason == INTERRUPTED

    @property
    def value(self) -> Any:
        """What `--format` makes of the text; without one, the text.  Raises `Failed`."""
        try:
            # What came behind the last calls: the shape is of that alone.
            return self.shape.read(self.turns[-1].text or self.text)
        except Misshapen as error:
            cut = self.done_reason == "length"
            why = f"; it was cut off: {_MORE}" if cut else ""
            raise Failed(f"{error}{why}") from error

    @property
    def tokens_per_second(self) -> float:
        seconds = self.stats.get("eval_duration", 0) / _NANOSECONDS
        return self.stats.get("eval_count", 0) / seconds if seconds else 0.0

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.bundle()["text/markdown"]

    @property
    def plain(self) -> str:
        """All of it but the thoughts; it only ever grows at its end."""
        return "\n".join(line for turn in self.turns for line in self._lines(turn) if line)

    def _lines(self, turn: Turn) -> Iterator[str]:
        """A function may print: it is told when it has ended."""
        yield turn.text
        for call in turn.calls:
            if call.result is not None:
                yield f"{call} → {call.result}"
            elif self.interrupted:
                yield str(call)

    def bundle(self) -> dict[str, str]:
        """The answer as MIME types: front ends show the richest they know."""
        parts = [part for turn in self.turns for part in self._shown(turn) if part]
        return {"text/plain": shown(self.plain), "text/markdown": in_dollars("\n\n".join(parts))}

    def _shown(self, turn: Turn) -> tuple[str, str, str]:
        shaped = self.shape.is_json and turn.text and turn is self.turns[-1]
        said = f"```json\n{turn.text}\n```" if shaped else turn.text.lstrip("\n")
        called = "\n>\n".join(map(_marked, turn.calls))
        return _folded(turn), inert(said), inert(called)

    @property
    def empty(self) -> bool:
        return not (self.text or self.thinking or self.calls)


def _folded(turn: Turn) -> str:
    if not turn.thinking:
        return ""
    summary = "Thinking" if turn.text or turn.calls else "Thinking …"
    # Blank lines around it: what is between them is Markdown.
    return f"<details><summary>{summary}</summary>\n\n{inert(turn.thinking)}\n\n</details>"


def _marked(call: Call) -> str:
    result = "…" if call.result is None else code(call.result)
    return f"> {code(str(call))} → {result}"


class View(Protocol):
    """Where a growing answer is shown."""

    def show(self, answer: Answer, at_once: bool = False) -> None:
        """Soon, or `at_once`."""

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

    def show(self, answer: Answer, at_once: bool = False) -> None:
        if (at_once or self._now() >= self._next) and not answer.empty:
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
        self._shown = 0

    def show(self, answer: Answer, at_once: bool = False) -> None:
        plain = answer.plain
        write(sys.stdout, plain[self._shown :])
        self._shown = len(plain)

    def close(self, answer: Answer) -> None:
        self.show(answer)
        sys.stdout.write("\n" if self._shown else "")


def new_view() -> View:
    """Markdown where a front end shows it, unless OLLMLX_PLAIN says otherwise."""
    return MarkdownView() if in_kernel() else PlainView()
