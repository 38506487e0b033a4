"""A bar that fills up: one output of a cell, or one line of a terminal."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from IPython.core.getipython import get_ipython
from IPython.display import display

_SECONDS = 0.25
"""Between two updates: each is a message to every browser that shows the notebook."""
_WIDTH = 24


class Bar(Protocol):
    """What is being done, shown while it is done."""

    def show(self, text: str, final: bool = False) -> None:
        """Put `text` in the place of what was shown.  Between two that are final, some are left
        out."""


class _Throttled:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._next = now, 0.0

    def show(self, text: str, final: bool = False) -> None:
        if final or self._now() >= self._next:
            self._draw(text, final)
            self._next = self._now() + _SECONDS

    def _draw(self, text: str, final: bool) -> None:
        raise NotImplementedError


class CellBar(_Throttled):
    """One output of a cell.  It is plain text, so a saved notebook shows how it ended."""

    _handle: Any = None

    def _draw(self, text: str, final: bool) -> None:
        bundle = {"text/plain": text}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class TerminalBar(_Throttled):
    def _draw(self, text: str, final: bool) -> None:
        sys.stderr.write(f"\r\x1b[K{text}{chr(10) if final else ''}")
        sys.stderr.flush()


class NoBar:
    """For logs, and for tools that compare what a cell prints."""

    def show(self, text: str, final: bool = False) -> None: ...


def in_kernel() -> bool:
    """Whether a front end shows what is displayed, unless OLLMLX_PLAIN says to print text."""
    plain = os.environ.get("OLLMLX_PLAIN", "") not in ("", "0")
    return getattr(get_ipython(), "kernel", None) is not None and not plain


def new_bar() -> Bar:
    if in_kernel():
        return CellBar()
    return TerminalBar() if sys.stderr.isatty() else NoBar()


def drawn(share: float, words: str) -> str:
    """A bar of text: `share` is 0 to 1."""
    filled = int(_WIDTH * min(max(share, 0.0), 1.0))
    return f"{share:4.0%} ▕{'█' * filled}{' ' * (_WIDTH - filled)}▏ {words}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 4 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
