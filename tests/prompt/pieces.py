"""One text cut into pieces in many ways: parsers must not care."""

import random
from collections.abc import Iterator


def cuts(text: str) -> Iterator[list[str]]:
    """The whole, every single character, and some random cuts (the same ones every time)."""
    yield [text]
    yield list(text)
    for seed in range(20):
        dice, pieces, rest = random.Random(seed), list[str](), text
        while rest:
            length = dice.randint(1, 9)
            pieces.append(rest[:length])
            rest = rest[length:]
        yield pieces
