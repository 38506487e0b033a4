"""What an operation answers with: one document, or a stream of them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct

JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
"""How Ollama labels what its OpenAI middleware writes."""


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
    """Structs, and for server-sent events texts too, which are sent as they are."""
    framing: Literal["ndjson", "sse"] = "ndjson"


Answer = Whole | Stream
