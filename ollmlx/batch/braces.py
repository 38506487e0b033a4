"""Texts with something in braces to be filled in, for cells and for rows of tables."""

import re
from collections.abc import Callable

_BEGINS = re.compile(r"\{(?=[^\W\d])")
"""A field begins with a name: JSON and most code can be pasted as they are."""
_MARK = re.compile(r"\{\{|\}\}|\{")

Read = Callable[[str, int], tuple[str, int]]
"""Takes the text and where a field's content begins; the field's value and where its `}` is."""


def fill(text: str, read: Read, bare: bool = False) -> str:
    """Put values into the place of fields; `{{` … `}}` around anything mean single braces.

    A brace that begins no field stays, and so does a `}}` that closes no `{{`.  With `bare`, `{}`
    is a field too.  Values are never looked into for further fields.
    """
    done: list[str] = []
    at = doubled = 0
    while mark := _MARK.search(text, at):
        done.append(text[at : mark.start()])
        at = mark.end()
        if mark[0] == "{{":
            doubled += 1
            done.append("{")
        elif mark[0] == "}}":
            closes = doubled > 0
            doubled -= closes
            done.append("}" if closes else "}}")
        elif _BEGINS.match(text, mark.start()) or (bare and text.startswith("}", at)):
            value, end = read(text, at)
            done.append(value)
            at = end + 1
        else:
            done.append("{")
    return "".join([*done, text[at:]])
