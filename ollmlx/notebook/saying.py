"""What commands show: tables, sentences, and errors in one line."""

import html
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import ollama
from IPython.display import display

from ollmlx.batch.progress import in_kernel
from ollmlx.codes import write
from ollmlx.errors import OllmlxError, unwrapped
from ollmlx.notebook.errors import Failed, Shown
from ollmlx.servers import find

# What Markdown would take for marks of its own in a name.
_MARKS = re.compile(r"([\\`*_\[\]|~!]|^[#+-])", re.MULTILINE)
_ABSENT = re.compile("model '.*' not found")
_WHERE = "; %ollmlx list tells which are there, %ollmlx pull fetches others"
_DOLLAR = "<span>&#36;</span>"
"""JupyterLab typesets what lies between two of `\\$`, too."""


@contextmanager
def told_briefly() -> Iterator[None]:
    """Turn what the client's libraries raise into `Failed`."""
    try:
        yield
    except Shown:
        raise
    except OllmlxError as error:
        raise Failed(str(error)) from error
    except (ollama.ResponseError, ollama.RequestError) as error:
        text = unwrapped(error.error)
        raise Failed(text + _WHERE if _ABSENT.fullmatch(text) else text) from error
    except (ConnectionError, httpx.ConnectError) as error:
        # The ollama package's own words send people to ollama.com for a download.
        named = os.environ.get("OLLMLX_HOST", "")  # perhaps with a password, and notebooks are kept
        place = find(named).place if named else "the address it had a moment ago"
        raise Failed(f"no server answers at {place}") from error
    except httpx.HTTPError as error:
        raise Failed(f"the answer broke off: {str(error) or type(error).__name__}") from error


def show(bundle: dict[str, str]) -> None:
    """As Markdown in a notebook, as text anywhere else and for tools that compare outputs."""
    if in_kernel():
        display(bundle, raw=True)
    else:
        say(bundle["text/plain"])


def say(text: str) -> None:
    write(sys.stdout, f"{text}\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """As MIME types.  Whatever a cell holds, it is text: names come from strangers."""
    lines = [columns, *rows] if any(columns) else rows
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(len(columns))]
    plain = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    head = f"| {' | '.join(columns)} |\n| {' | '.join(['---'] * len(columns))} |"
    marked = [f"| {' | '.join(map(literal, row))} |" for row in rows]
    below = "\n".join(plain) if rows else ""
    return {
        "text/plain": f"{title}\n\n{below}".strip(),
        "text/markdown": "\n".join([literal(title), *(["", head, *marked] if rows else [])]),
    }


def literal(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = _MARKS.sub(r"\\\1", html.escape(text, quote=False))
    return "<br>".join(escaped.replace("$", _DOLLAR).splitlines())


def code(text: str, most: int = 200) -> str:
    """A code span of Markdown, on one line and not too long, whatever backticks are in it."""
    flat = " ".join(text.split())
    short = flat if len(flat) <= most else f"{flat[:most]}…"
    fence = "`" * (max(map(len, re.findall("`+", short)), default=0) + 1)
    pad = " " if short.startswith("`") or short.endswith("`") or not short else ""
    return f"{fence}{pad}{short}{pad}{fence}"
