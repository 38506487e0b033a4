"""Tables without borders, as the library tablewriter 0.0.5 draws them for Ollama."""

import unicodedata
from collections.abc import Sequence

_GAP = "    "


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = (), wrap: int = 30) -> str:
    """Columns as wide as their longest cell; one of several words over `wrap` columns goes on
    below.
    """
    cells = [[_wrapped(cell, wrap) for cell in row] for row in rows]
    widths = [width(name) for name in head] + [0] * (max(map(len, rows), default=0) - len(head))
    for row in cells:
        for column, lines in enumerate(row):
            widths[column] = max(widths[column], *map(width, lines))
    text = _GAP.join(map(_padded, head, widths)) + " \n" if head else ""
    return text + "".join(_row(row, widths) for row in cells)


def width(text: str) -> int:
    """Columns on a screen."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _row(cells: list[list[str]], widths: list[int]) -> str:
    height = max(map(len, cells))
    tall = [lines + ["  "] * (height - len(lines)) for lines in cells]
    return "".join(
        "".join(_padded(lines[y], w) + _GAP for lines, w in zip(tall, widths, strict=False)) + "\n"
        for y in range(height)
    )


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def _wrapped(text: str, wrap: int) -> list[str]:
    """Lines with the least raggedness: the squares of what they leave free add up to the least.

    The last line may be short; a word is never cut.
    """
    words = text.replace("\n", " ").split(" ")
    limit = max(min(wrap, width(text)), *map(width, words))
    count = len(words)
    cost, following = [0.0] * count + [0.0], [count] * count
    for first in reversed(range(count)):
        cost[first], used = float("inf"), -1
        for last in range(first, count):
            used += 1 + width(words[last])
            if used > limit:
                break
            ragged = 0 if last == count - 1 else (limit - used) ** 2 + cost[last + 1]
            if ragged < cost[first] or last == count - 1:
                cost[first], following[first] = ragged, last + 1
    lines, first = [], 0
    while first < count:
        lines.append(" ".join(words[first : following[first]]))
        first = following[first]
    return lines
