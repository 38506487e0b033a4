"""Pieces of a text on their way to a page, gathered into 20 messages a second."""

import asyncio
from collections.abc import Callable

SECONDS = 0.05


class Pacing:
    """Lives on one event loop."""

    def __init__(self, send: Callable[[str, str], None]) -> None:
        self._send = send
        self._text = self._thinking = ""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str, thinking: str) -> None:
        self._text += text
        self._thinking += thinking
        if self._timer is None and (self._text or self._thinking):
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self.flush)

    def flush(self) -> None:
        """Send what is left now."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._text or self._thinking:
            text, thinking = self._text, self._thinking
            self._text = self._thinking = ""
            self._send(text, thinking)
