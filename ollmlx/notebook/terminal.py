"""A program that believes to be on a terminal, so that it draws its progress, read as it draws."""

import codecs
import os
import pty
import re
import subprocess
from collections.abc import Iterator, Sequence

_BACK = re.compile(r"\x1b\[(?:\d*A|1?G|2K)")
"""Goes back to draw over what is there, as a carriage return does."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
"""Colours, cursors and spinners."""
_ENDS = re.compile(r"(\r?\n|\r)")


class Program:
    """One run of it.  Whoever leaves the block ends it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._ours, theirs = pty.openpty()
        # A session of its own: an interrupt of the kernel goes to the kernel's whole group.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._ours)

    def drawings(self) -> Iterator[tuple[str, bool]]:
        """Each line whenever it is drawn, and whether it will stay as it is."""
        decoder, begun, passing = codecs.getincrementaldecoder("utf-8")("replace"), "", ""
        while piece := self._read():
            drawn = _BACK.sub("\r", begun + decoder.decode(piece))
            *whole, begun = _ENDS.split(drawn)
            for line, end in zip(whole[::2], whole[1::2], strict=True):
                text, stays = _ESCAPES.sub("", line).strip(), end != "\r"
                # The last drawing of what went on ends like a line, and says nothing new.
                if text and text != passing:
                    yield text, stays
                passing = passing if stays else text
        if begun.strip():
            yield _ESCAPES.sub("", begun).strip(), True

    def status(self) -> int:
        """With which it ended."""
        return self._process.wait()

    def _read(self) -> bytes:
        try:
            return os.read(self._ours, 65536)
        except OSError:  # what Linux says when nobody has the other end any more
            return b""
