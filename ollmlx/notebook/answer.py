"""An answer while it grows: what a cell shows of it, and what is left of it in a variable."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from IPython.core.getipython import get_ipython
from IPython.display import display
from ollama import ChatResponse

_NANOSECONDS = 1e9


@dataclass
class Answer:
    """What a model said to one cell."""

    model: str
    text: str = ""
    thinking: str = ""
    done_reason: str = ""
    """`stop`, `length`, … of the API, or `interrupted`."""
    structured: bool = False
    """Whether a format was asked for, so that the text is JSON."""
    stats: dict[str, int] = field(default_factory=dict)
    """The API's counts (tokens) and durations (nanoseconds)."""

    def add(self, part: ChatResponse) -> None:
        self.text += part.message.content or ""
        self.thinking += part.message.thinking or ""
        if part.done:
            self.done_reason = part.done_reason or ""
            numbers = part.model_dump(exclude_none=True)
            self.stats = {
                key: n for key, n in numbers.items() if key.endswith(("_count", "_duration"))
            }

    def json(self) -> Any:
        """The value of an answer made with `--format`.  Raises `ValueError` where it is cut off."""
        return json.loads(self.text)

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
        shown = f"```json\n{self.text}\n```" if self.structured and self.text else self.text
        if self.thinking:
            summary = "Thinking" if self.text else "Thinking …"
            shown = (
                f"<details><summary>{summary}</summary>\n\n{self.thinking}\n\n</details>\n\n{shown}"
            )
        return {"text/plain": self.text, "text/markdown": shown}


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
        if self._now() >= self._next and (answer.text or answer.thinking):
            self._update(answer)
            self._next = self._now() + min(0.5, max(0.1, len(answer.text) / 20_000))

    def close(self, answer: Answer) -> None:
        if answer.text or answer.thinking:
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

    def show(self, answer: Answer) -> None:
        sys.stdout.write(answer.text[self._shown :])
        sys.stdout.flush()
        self._shown = len(answer.text)

    def close(self, answer: Answer) -> None:
        self.show(answer)
        sys.stdout.write("\n" if answer.text else "")


def new_view() -> View:
    """Markdown where a front end is attached, unless OLLMLX_PLAIN says otherwise."""
    shell = get_ipython()
    in_kernel = getattr(shell, "kernel", None) is not None
    plain = os.environ.get("OLLMLX_PLAIN", "") not in ("", "0")
    return MarkdownView() if in_kernel and not plain else PlainView()


def table(title: str, columns: list[str], rows: list[list[str]]) -> dict[str, str]:
    """A table as MIME types, for the listings of `%ollmlx`."""
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    plain = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]
    marked = [f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *rows]]
    return {
        "text/plain": "\n".join([title, "", *plain] if rows else [title]),
        "text/markdown": "\n".join([title, "", *marked] if rows else [title]),
    }
