"""Ollama's named templates: what it makes of the Jinja template that a GGUF brings.

The texts lie in `templates`, as Ollama ships them: a model made of them has the bytes of one that
Ollama made.
"""

import json
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path

_FOLDER = Path(__file__).with_name("templates")
_NEAR = 100
"""Edits below which Ollama takes two templates for the same."""


@dataclass(frozen=True)
class Named:
    name: str
    template: bytes
    """A Go template."""
    stops: tuple[str, ...]


def meant(chat_template: str) -> Named | None:
    """The template whose Jinja original is nearest, if it is near; the first of equals."""
    distances = [
        (distance(chat_template, original), name)
        for name, original in _originals()
        if abs(len(chat_template) - len(original)) < _NEAR
    ]
    nearest, name = min(distances, key=itemgetter(0), default=(_NEAR, ""))
    return named(name) if chat_template and nearest < _NEAR else None


@cache
def named(name: str) -> Named:
    stops = json.loads((_FOLDER / f"{name}.json").read_bytes())["stop"]
    return Named(name, (_FOLDER / f"{name}.gotmpl").read_bytes(), tuple(stops))


@cache
def _originals() -> list[tuple[str, str]]:
    """Names and Jinja templates; several may have one name."""
    index = json.loads((_FOLDER / "index.json").read_bytes())
    return [(entry["name"], entry["template"]) for entry in index]


def distance(one: str, other: str) -> int:
    """Characters to insert, delete or replace, one column of the matrix in three integers.

    Source: Hyyrö, Bit-Vector Algorithm for … Levenshtein and Damerau Edit Distances, 2003.
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for at, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << at
    full, last = (1 << len(one)) - 1, 1 << len(one) - 1
    more, less, score = full, 0, len(one)
    for character in other:
        equal = places.get(character, 0)
        diagonal = (((equal & more) + more) ^ more) | equal | less
        right = less | (full & ~(diagonal | more))
        left = more & diagonal
        score += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & full, left << 1 & full
        more, less = left | (full & ~(diagonal | right)), right & diagonal
    return score
