"""Grammars, asked about a text byte by byte."""

from llguidance import LLTokenizer

from ollmlx.engine.grammar import Matcher

BYTES = LLTokenizer("byte")
"""A token a byte, and an end token."""


def matcher(grammar: str) -> Matcher:
    return Matcher(BYTES, grammar, BYTES.vocab_size)


def accepted(matcher: Matcher, text: str) -> bool:
    """As a whole answer."""
    for byte in text.encode():
        if not matcher.allowed()[byte]:
            return False
        matcher.consume(byte)
    return bool(matcher.allowed()[BYTES.eos_token])
