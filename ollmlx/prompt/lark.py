"""Lines of a Lark grammar in llguidance's variant, put together from texts and JSON Schemas.

What only the engine knows comes in as functions: how it spells a text that a model may have special
tokens for, a JSON Schema, and a text up to another.
https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

ANYTHING = "/(?s:.*)/"


class JSONTerm(Protocol):
    def __call__(self, schema: dict[str, Any], **options: Any) -> str:
        """Raises BadRequest naming what cannot be honoured."""
        ...


@dataclass(frozen=True)
class Terms:
    tag: Callable[[str], str]
    """A text that may be special tokens."""
    json: JSONTerm
    until: Callable[[str, str, str], str]
    """A rule of that name: text that matches a regular expression, and the given one after it."""


class Lark:
    """A grammar in the making; what its methods return are terms."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._lines: list[str] = []

    def starting(self, body: str) -> str:
        """The whole grammar, which begins with `body`."""
        return "\n".join([f"start: {body}", *self._lines])

    def rule(self, body: str) -> str:
        name = self._name()
        self._lines.append(f"{name}: {body}")
        return name

    def until(self, text: str, matching: str = ANYTHING) -> str:
        """Any text in which `text` is not, and then that."""
        name = self._name()
        self._lines.append(self.terms.until(name, matching, text))
        return name

    def without(self, pattern: str) -> str:
        """Any text that is not, as a whole, what a regular expression matches."""
        name = self._name().upper()
        self._lines.append(f"{name}: {ANYTHING} & ~/{pattern}/")
        return name

    def sequence(self, items: Iterable[tuple[str, bool]], between: str = "") -> str:
        """Terms in their order, each with whether it must be there, `between` any two."""
        # From the end: what follows an item that is there, and what follows where none was yet.
        later, first = "", ""
        apart = text(between)
        for item, needed in reversed(list(items)):
            followed = f"{item} {later}"
            first = self.rule(followed if needed else f"{followed} | {first or EMPTY}")
            later = self.rule(f"{apart} {followed}" if needed else f"({apart} {item})? {later}")
        return first

    def _name(self) -> str:
        return f"r{len(self._lines)}"


EMPTY = '""'


def text(content: str) -> str:
    """A text as it is."""
    return json.dumps(content) if content else ""


def one_of(texts: Iterable[str]) -> str:
    return f"({' | '.join(text(content) or EMPTY for content in texts)})"


def literally(content: str) -> str:
    """A text for a regular expression."""
    return re.escape(content).replace("/", r"\/").replace("\\\n", r"\n")
