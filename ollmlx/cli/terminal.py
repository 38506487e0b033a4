"""What the command writes: results on stdout, everything else on stderr."""

import os
import shutil
import sys

from ollmlx.codes import write

GREY, BOLD, PLAIN = "\x1b[38;5;245m", "\x1b[1m", "\x1b[0m"


def say(text: str, end: str = "\n") -> None:
    write(sys.stdout, text + end)


def tell(text: str, end: str = "\n") -> None:
    """On stderr."""
    write(sys.stderr, text + end)


def draw(codes: str) -> None:
    """On stderr, whatever codes it has."""
    sys.stderr.write(codes)
    sys.stderr.flush()


def columns() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def conversing() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def program() -> str:
    """What the user calls us: a link named `ollama` is Ollama to them."""
    name = os.path.basename(sys.argv[0])
    return "ollama" if name == "ollama" else "ollmlx"
