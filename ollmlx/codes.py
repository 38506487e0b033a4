"""Texts of models and registries on a terminal: what it would obey is shown instead.

Codes may write to the clipboard, or over what was said before.  Colours stay, and going back in a
line, which our own command does, too.
"""

import re
from typing import TextIO

_CODES = re.compile(r"(\x1b\[(?:[\d;]*m|\d*[DK]))|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def shown(text: str) -> str:
    """The text with pictures for codes: ␛ for an escape."""
    return _CODES.sub(lambda code: code[1] or _picture(ord(code[0])), text)


def write(stream: TextIO, text: str) -> None:
    """As it is, but for a terminal."""
    stream.write(shown(text) if stream.isatty() else text)
    stream.flush()


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "\N{SYMBOL FOR DELETE}"
