"""Someone at a terminal: the command as a real process on a pseudo-terminal of its own."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pexpect import EOF
from pexpect.fdpexpect import fdspawn

# The terminal has to become the controlling one, or Ctrl-C is only a byte.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "ollmlx.cli", *sys.argv[1:]])
"""
_ROWS_AND_COLUMNS = (40, 100)


class User:
    def __init__(self, screen: int, process: subprocess.Popen[bytes]) -> None:
        self._screen = fdspawn(screen, encoding="utf-8", timeout=30)
        self._process = process

    def sees(self, text: str) -> str:
        """Wait until the text is shown.  Returns what was shown before it."""
        self._screen.expect_exact(text)
        return str(self._screen.before)

    def types(self, keys: str) -> None:
        self._screen.send(keys)

    def says(self, line: str) -> None:
        """At the prompt, one line and Enter."""
        self.sees("\x1b[32D")  # the cursor is back at the beginning of the placeholder
        self._screen.send(line)
        self._screen.send("\r")

    def leaves(self) -> int:
        """The exit status, when the command has ended by itself."""
        self._screen.expect(EOF)  # and meanwhile read: a terminal that is full keeps it waiting
        return self._process.wait(timeout=30)


@contextmanager
def at_terminal(*words: str, **environment: str) -> Iterator[User]:
    screen, terminal = pty.openpty()
    pty_size(terminal)
    # Where tests share the cores these tell of a terminal that is not this one.
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**inherited, "TERM": "xterm-256color", **environment},
    )
    os.close(terminal)
    try:
        yield User(screen, process)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def pty_size(terminal: int) -> None:
    import termios

    termios.tcsetwinsize(terminal, _ROWS_AND_COLUMNS)
