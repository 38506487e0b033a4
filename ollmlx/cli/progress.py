"""What is under way, drawn over itself on a terminal ten times a second.

Anywhere else each step is one line, without escape codes.
"""

import shutil
import sys
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from ollmlx.cli import formats
from ollmlx.cli.connection import Document
from ollmlx.cli.terminal import columns, draw, tell
from ollmlx.codes import shown

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS = 0.1
_SAMPLES = 10
# Synchronised output and a hidden cursor while lines are redrawn: nothing flickers.
_BEGIN, _END = "\x1b[?2026h\x1b[?25l", "\x1b[?25h\x1b[?2026l"


class State(Protocol):
    """One line of progress."""

    def drawn(self, columns: int) -> str: ...

    @property
    def plain(self) -> str:
        """What a log is told once."""


class Spinner:
    def __init__(self, message: str = "") -> None:
        self.message, self.percent, self.stopped = message, "", False

    def drawn(self, columns: int) -> str:
        frame = _FRAMES[int(time.monotonic() / _SECONDS) % len(_FRAMES)]
        words = [self.message.strip(), self.percent, "" if self.stopped else frame]
        return "".join(f"{word} " for word in words if word)

    @property
    def plain(self) -> str:
        return self.message.strip()


class Bar:
    """A download: share, bar, bytes, bytes a second, time left."""

    def __init__(self, message: str, total: int, completed: int) -> None:
        self._message, self._total, self._first = message.strip(), total, completed
        self._value = completed
        self._done = completed >= total
        self._started = time.monotonic()
        self._samples: list[tuple[float, int]] = []

    @property
    def plain(self) -> str:
        return f"{self._message} {formats.size(self._total)}"

    def set(self, value: int) -> None:
        now = time.monotonic()
        self._value = min(value, self._total)
        self._done = self._value >= self._total
        if not self._samples or now - self._samples[-1][0] > 1:
            self._samples = [*self._samples[1 - _SAMPLES :], (now, self._value)]

    def drawn(self, columns: int) -> str:
        share = self._value / self._total if self._total > 0 else 0.0
        left = f"{self._message} {share * 100:3.0f}%"
        right = self._counts()
        room = columns - len(left) - len(right) - 5
        filled = int(room * share)
        return f"{left} ▕{'█' * filled}{' ' * (room - filled)}▏ {right}"

    def _counts(self) -> str:
        total, rate = formats.size(self._total), self._rate()
        if self._done:
            return f"{total:>6}{'':25}"
        counts = f"{formats.size(self._value):>6}/{total:>6}"
        if rate <= 0:
            return f"{counts}{'':18}"
        left = formats.eta(int((self._total - self._value) / rate))
        return f"{counts}  {formats.size(int(rate)):>6}/s  {left:>6}"

    def _rate(self) -> float:
        """Bytes a second over the last samples, which are a second apart."""
        samples = self._samples
        first = samples[0] if len(samples) > 1 else (self._started, self._first)
        last = samples[-1] if samples else first
        seconds = round(last[0] - first[0])
        return (last[1] - first[1]) / seconds if seconds else 0.0


class Progress:
    """Lines that are redrawn until the block ends.  Any thread may add and change them."""

    def __init__(self) -> None:
        self._states: list[State] = []
        self._drawn = 0
        self._live = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._draw_on, daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._stop():
            tell("")

    def add(self, state: State) -> None:
        with self._lock:
            self._states.append(state)
        if not self._live and state.plain:
            tell(state.plain)

    def clear(self) -> None:
        """Stop, and leave nothing on the screen."""
        if self._stop():
            draw("\x1b[A".join(["\x1b[2K\x1b[1G"] * self._drawn))

    def _stop(self) -> bool:
        """Draw for the last time; whether there was something to stop."""
        if not self._live or self._stopping.is_set():
            return False
        self._stopping.set()
        self._thread.join()
        for state in self._states:
            if isinstance(state, Spinner):
                state.stopped = True
        self._draw()
        return True

    def _draw_on(self) -> None:
        while not self._stopping.wait(_SECONDS):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            width, height = columns(), shutil.get_terminal_size((80, 24)).lines
            lines = [shown(state.drawn(width)) + "\x1b[K" for state in self._states[-height:]]
            up = "\x1b[A" * (self._drawn - 1)
            draw(f"{_BEGIN}{up}\x1b[1G" + "\n".join(lines) + _END)
            self._drawn = len(lines)


class Steps:
    """The frames of a pull, push or create as lines of progress."""

    def __init__(self, progress: Progress, verb: str, from_start: bool = True) -> None:
        self._progress = progress
        self._verb = verb
        self._from_start = from_start
        """Whether a bar is shown before its first byte has come."""
        self._bars: dict[str, Bar] = {}
        self._spinner = Spinner()
        self._status: str | None = None

    def follow(self, frames: Iterable[Document]) -> None:
        for frame in frames:
            if digest := frame.get("digest"):
                self._layer(digest, frame)
            elif (status := frame.get("status", "")) != self._status:
                self._next(status)

    def _next(self, status: str) -> None:
        self._spinner.stopped = True
        self._status, self._spinner = status, Spinner(status)
        self._progress.add(self._spinner)

    def _layer(self, digest: str, frame: Document) -> None:
        completed = frame.get("completed", 0)
        if not completed and not self._from_start:
            return
        self._spinner.stopped = True
        if not (bar := self._bars.get(digest)):
            bar = Bar(self._message(digest, frame), frame.get("total", 0), completed)
            self._bars[digest] = bar
            self._progress.add(bar)
        bar.set(completed)

    def _message(self, digest: str, frame: Document) -> str:
        name = digest.removeprefix("sha256:")
        if name != digest:
            name = name[:12]
        if not self._from_start:  # a pull, whose frames all have the same status
            return f"{self._verb} {name}:"
        return frame.get("status") or f"{self._verb} {name}..."
