"""When each piece of an answer arrived, read from a recorded stream.

The clock runs while bytes come in; what they mean is read afterwards, so that the client costs the
server next to nothing.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec

from ollmlx.errors import OllmlxError

Stamped = tuple[float, bytes]
"""What came, and when."""


class AnswerFailed(OllmlxError):
    """A server refused a request, broke off its answer or could not be reached."""


@dataclass(frozen=True)
class Timeline:
    """One answer.  Times in seconds of one clock."""

    started: float
    stamps: tuple[float, ...]
    """Of each piece of text."""
    tokens: int
    """As the server counts them; as pieces where it does not."""
    prompt_tokens: int = 0
    text: str = ""

    @property
    def first(self) -> float:
        """Seconds to the first text."""
        return self.stamps[0] - self.started

    @property
    def arrivals(self) -> list[float]:
        """The stamps, once each: pieces may come together."""
        return sorted(set(self.stamps))

    @property
    def gaps(self) -> list[float]:
        """Seconds between one arrival and the next."""
        return [b - a for a, b in pairwise(self.arrivals)]

    @property
    def speed(self) -> float:
        """Tokens a second once writing; 0 when there was only one piece."""
        seconds = self.stamps[-1] - self.stamps[0]
        return (self.tokens - 1) / seconds if seconds > 0 else 0.0


@dataclass
class Recording:
    """A stream while it comes in."""

    started: float = field(default_factory=time.perf_counter)
    chunks: list[Stamped] = field(default_factory=list)
    _ended: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, chunk: bytes) -> None:
        self.chunks.append((time.perf_counter(), chunk))
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def reaches(self, chunks: int) -> None:
        """Return when that many have come, or no more will."""
        while len(self.chunks) < chunks and not self._ended:
            self._news.clear()
            await self._news.wait()

    def timeline(self) -> Timeline:
        """Raises `AnswerFailed` for an error in the stream, and for one that answers nothing.

        An answer of tokens without text has one stamp, that of its end.
        """
        stamps, text, tokens, prompt_tokens, end = [], "", 0, 0, 0.0
        for end, event in self._events():
            piece, written, read = _understand(event)
            if piece:
                stamps.append(end)
            text += piece
            tokens, prompt_tokens = max(tokens, written), max(prompt_tokens, read)
        if tokens and not stamps:
            stamps.append(end)
        if not stamps:
            raise AnswerFailed("the answer has no text")
        return Timeline(self.started, tuple(stamps), tokens or len(stamps), prompt_tokens, text)

    def _events(self) -> Iterator[tuple[float, dict[str, Any]]]:
        for stamp, line in self._lines():
            line = line.removeprefix(b"data:").strip()
            if line.startswith(b"{"):  # neither a comment, a blank line nor [DONE]
                try:
                    yield stamp, msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.DecodeError as error:
                    raise AnswerFailed(f"not JSON: {line[:80]!r}") from error

    def _lines(self) -> Iterator[tuple[float, bytes]]:
        """Each whole line, with the time its end arrived; the rest of a cut-off stream is none."""
        rest = b""
        for stamp, chunk in self.chunks:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield stamp, line


def _understand(event: dict[str, Any]) -> tuple[str, int, int]:
    """Text, tokens written and tokens read that an event of either API tells of."""
    if error := event.get("error"):
        raise AnswerFailed(error if isinstance(error, str) else str(error.get("message", error)))
    text = "".join(text for text in _texts(event) if text)
    usage = event.get("usage") or {}
    written = event.get("eval_count") or usage.get("completion_tokens") or 0
    read = event.get("prompt_eval_count") or usage.get("prompt_tokens") or 0
    return text, int(written), int(read)


def _texts(event: dict[str, Any]) -> Iterator[Any]:
    message = event.get("message") or {}
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        yield from (choice.get("text"), delta.get("content"), delta.get("reasoning_content"))
    yield from (event.get("response"), message.get("content"), message.get("thinking"))
