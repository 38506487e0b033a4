"""Prompts that no server has seen, and that every server reads alike."""

import random
from collections.abc import Sequence

# Words that common vocabularies hold whole, so that a word is about a token.
_TOPICS = """
river stone window garden morning paper table winter letter bridge music silver forest island
mountain engine doctor market village castle summer captain kitchen teacher harbor station picture
history science weather machine journey brother country evening question answer school street
animal flower water fire earth cloud light shadow dream voice story
"""
_OPENING = " I will now tell a very long story about all of them. Once upon a time, there was"

Message = dict[str, str]


def words(key: str, count: int) -> str:
    """The same words for the same key, others for another."""
    chosen = random.Random(key).choices(_TOPICS.split(), k=count)
    return " ".join(chosen)


def prompts(key: str, streams: int, tokens: int) -> list[str]:
    """Raw prompts of about `tokens` tokens, one a stream, alike in a first word or two at most."""
    room = max(1, tokens - len(_OPENING.split()))
    return [f"{words(f'{key}/{stream}', room)}.{_OPENING}" for stream in range(streams)]


def question(key: str, tokens: int) -> list[Message]:
    """A conversation whose only message has about `tokens` tokens."""
    text = f"{words(key, tokens)}. Tell me a story about all of them."
    return [{"role": "user", "content": text}]


def follow_up(history: Sequence[Message], answer: str) -> list[Message]:
    """The conversation's second turn."""
    said = {"role": "assistant", "content": answer}
    return [*history, said, {"role": "user", "content": "Tell me more about the first of them."}]
