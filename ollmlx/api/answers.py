"""What an operation answers with: one document, or a stream of them."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct

from ollmlx.errors import OllmlxError

_NOTES: ContextVar[dict[str, str]] = ContextVar("notes")
JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
"""How Ollama labels what its OpenAI and Anthropic middleware write."""
Framing = Literal["ndjson", "sse", "events"]
"""Lines, server-sent events without names, and with them."""


@dataclass(frozen=True)
class Whole:
    """One document: a Struct as JSON, a text as it is, None for an empty body."""

    body: Struct | str | None = None
    content_type: str = JSON
    ending: str = ""
    """OpenAI-shaped answers end with a newline, Ollama's own do not."""
    status: int = 200


@dataclass(frozen=True)
class Stream:
    """Frames as they come; the first of them decides whether the answer begins at all."""

    frames: AsyncGenerator[Any, None]
    """Structs, which as named events have a `type`, that name; texts are sent as they are."""
    framing: Framing = "ndjson"
    failed: Callable[[OllmlxError], Struct] | None = None
    """The last frame of a stream that cannot go on, where it is not just the API's error."""


Answer = Whole | Stream


@contextmanager
def streaming(stream: bool | None) -> Iterator[None]:
    """Where Ollama has begun to answer, by a stream unless the client does not want one."""
    try:
        yield
    except OllmlxError as error:
        error.in_stream = stream is not False
        raise


def notes() -> dict[str, str]:
    """Begin an answer: the headers that `note` will add to it."""
    _NOTES.set({})
    return _NOTES.get()


def note(header: str, value: str) -> None:
    """Tell the client something of the answer that the bodies of no API have a place for.

    It must be known before the first frame.  What is told under one name is a list with commas.
    """
    told = _NOTES.get({})
    before = told.get(header, value)
    told[header] = value if before == value else f"{before}, {value}"
