"""One text cut into pieces in many ways: parsers must not care."""

import random
from collections.abc import Iterator

from ollmlx.engine.text import TextStream


def cuts(text: str) -> Iterator[list[str]]:
    """The whole, every single character, every cut in two, the bytes one by one as an engine hands
    them on, and some random cuts (the same ones every time).
    """
    yield [text]
    yield list(text)
    yield from ([text[:at], text[at:]] for at in range(1, len(text)))
    stream = TextStream(())
    yield [stream.push(bytes([byte])) for byte in text.encode()]
    for seed in range(20):
        dice, pieces, rest = random.Random(seed), list[str](), text
        while rest:
            length = dice.randint(1, 9)
            pieces.append(rest[:length])
            rest = rest[length:]
        yield pieces
