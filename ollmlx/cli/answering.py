"""A model's answer as it comes: thoughts, text and calls on stdout, figures on stderr."""

import json
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ollmlx.cli import formats
from ollmlx.cli.connection import Connection, Document
from ollmlx.cli.progress import Progress, Spinner
from ollmlx.cli.tables import width
from ollmlx.cli.terminal import BOLD, GREY, PLAIN, columns, say, tell

_MARGIN = 5
_LEAST_COLUMNS = 10


@dataclass
class Style:
    """How answers are shown; the REPL changes it as it goes."""

    wrap: bool = True
    """Whether lines break between words; on a terminal only."""
    thinking: bool = True
    """Whether thoughts are shown."""
    verbose: bool = False
    """Whether figures follow."""


@dataclass
class Answer:
    """What was said, when it has all come."""

    text: str = ""
    thinking: str = ""
    last: Document = field(default_factory=dict)


def stream(connection: Connection, path: str, request: Document, style: Style) -> Answer | None:
    """Show an answer of /api/generate or /api/chat as it comes; None when the user stopped it."""
    answer, screen = Answer(), Screen(style)
    with Progress() as waiting, closing(connection.stream(path, request)) as frames:
        waiting.add(Spinner())
        try:
            for frame in frames:
                answer.last = frame
                _frame(frame, answer, screen, waiting, style)
        except KeyboardInterrupt:
            screen.break_off()
            return None
        finally:
            waiting.clear()
    return answer


def _frame(
    frame: Document, answer: Answer, screen: "Screen", waiting: Progress, style: Style
) -> None:
    message = frame.get("message") or frame
    text = message.get("content" if "message" in frame else "response") or ""
    thinking = (message.get("thinking") or "") if style.thinking else ""
    calls = message.get("tool_calls") or []
    if text or thinking or calls or frame.get("done"):
        waiting.clear()
    answer.text += text
    answer.thinking += thinking
    screen.think(thinking)
    if text or calls:
        screen.think_no_more()
    screen.write(text)
    screen.call(calls)


def summarise(frame: Document) -> None:
    """The figures of `--verbose`: those that are not zero."""
    for key, title in (("total_duration", "total"), ("load_duration", "load")):
        if nanoseconds := frame.get(key):
            _figure(f"{title} duration", formats.duration(nanoseconds))
    for key, title in (("prompt_eval", "prompt eval"), ("eval", "eval")):
        count, nanoseconds = frame.get(f"{key}_count", 0), frame.get(f"{key}_duration", 0)
        if count:
            _figure(f"{title} count", f"{count} token(s)")
        if nanoseconds:
            _figure(f"{title} duration", formats.duration(nanoseconds))
            _figure(f"{title} rate", f"{count / nanoseconds * 1e9:.2f} tokens/s")


def _figure(name: str, value: str) -> None:
    tell(f"{name + ':':<22}{value}")


class Screen:
    """Stdout, for one answer."""

    def __init__(self, style: Style) -> None:
        self._live = sys.stdout.isatty()
        self._wrap = style.wrap and self._live
        self._used, self._word = 0, ""
        self._thinking, self._open_line = False, False

    def think(self, text: str) -> None:
        if not text:
            return
        if not self._thinking:
            self._thinking = True
            say(f"{GREY}{BOLD}Thinking...\n{PLAIN}{GREY}" if self._live else "Thinking...\n", "")
        self._open_line = not text.endswith("\n")
        self.write(text)

    def think_no_more(self) -> None:
        if self._thinking:
            closing_line = "...done thinking.\n\n"
            say("\n" if self._open_line else "", "")
            say(f"{GREY}{BOLD}{closing_line}{PLAIN}" if self._live else closing_line, "")
            self._thinking, self._used, self._word = False, 0, ""

    def write(self, text: str) -> None:
        if text:
            say(self._wrapped(text) if self._wrap else text, end="")

    def call(self, calls: Iterable[dict[str, Any]]) -> None:
        strong, weak, end = (GREY + BOLD, PLAIN, PLAIN) if self._live else ("", "", "")
        told = [
            f"  Model called a non-existent function '{weak}{call['function']['name']}{strong}()'"
            f" with arguments: {weak}"
            f"{json.dumps(call['function']['arguments'], separators=(',', ':'))}{strong}"
            for call in calls
        ]
        if told:
            say(strong + "\n".join(told) + end, end="")

    def break_off(self) -> None:
        """Leave a line that ends nowhere."""
        if self._live:
            say(PLAIN if self._thinking else "")

    def _wrapped(self, text: str) -> str:
        """The text with breaks between words: one that has begun too far right is taken back."""
        edge = columns()
        return "".join(self._placed(c, edge) for c in text) if edge >= _LEAST_COLUMNS else text

    def _placed(self, character: str, edge: int) -> str:
        if character in "\n\r":
            self._used, self._word = 0, ""
            return character
        blank = character in " \t" or width(character) > 1
        if self._used < edge - _MARGIN:
            self._used += width(character)
            self._word = "" if blank else self._word + character
            return character
        word, self._word = self._word, "" if blank else self._word + character
        if width(word) > edge - 2 * _MARGIN:  # longer than a line: let the terminal break it
            self._used, self._word = 0, ""
            return character
        self._used = width(word + character)
        back = f"\x1b[{width(word)}D" if word else ""
        return f"{back}\x1b[K\n{word}{character}"
