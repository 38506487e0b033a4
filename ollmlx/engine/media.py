"""Images and sounds among the tokens of a prompt: runs of negative numbers.

A run stands for one piece of an image that the model takes in as vectors.  Its numbers come from
the content: the same image is the same run, and another image another, so whatever compares
prompts by their tokens compares images too.  The two lowest bits tell how a token lies.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

_REFUSED = '{{"error":{{"code":400,"message":"{}","type":"invalid_request_error"}}}}'
# Ollama passes on what its llama-server answers, as it is.
NO_MEDIA = _REFUSED.format(
    "Multimodal data provided, but model does not support multimodal requests."
)
UNREADABLE = _REFUSED.format("Failed to load image or audio file")
_FIRST, _NEXT, _BESIDE = 0, 1, 2
_KEY_BYTES = 7


def run(content: bytes, tokens: int, positions: int) -> list[int]:
    """The tokens of a piece that is told from others by `content`.

    `positions` are those that it takes of the sequence, from 1 to `tokens`: where a model places
    an image's tokens in two dimensions, several share one.
    """
    assert 0 < positions <= tokens
    key = int.from_bytes(hashlib.sha256(content).digest()[:_KEY_BYTES]) << 2
    kinds = [_FIRST] + [_NEXT] * (positions - 1) + [_BESIDE] * (tokens - positions)
    return [-1 - (key | kind) for kind in kinds]


def begins(token: int) -> bool:
    """Whether a token is the first of a run."""
    return token < 0 and -1 - token & 3 == _FIRST


def positions(tokens: Sequence[int]) -> int:
    """How many positions of the sequence the tokens take."""
    if min(tokens, default=0) >= 0:
        return len(tokens)
    numbers = np.asarray(tokens, np.int64)
    beside = (numbers < 0) & (-1 - numbers & 3 == _BESIDE)
    return len(tokens) - int(beside.sum())


def text(tokens: Sequence[int]) -> list[int]:
    """Those that are text."""
    return [token for token in tokens if token >= 0]


def leading(tokens: Sequence[int]) -> int:
    """How many tokens at the start belong together: text up to a run, or one run."""
    if tokens[0] >= 0:
        return next((i for i, token in enumerate(tokens) if token < 0), len(tokens))
    goes_on = (i for i in range(1, len(tokens)) if tokens[i] >= 0 or begins(tokens[i]))
    return next(goes_on, len(tokens))


def last_begins(tokens: Sequence[int]) -> int:
    """Where the last token's run begins; a token of text is a run of its own."""
    start = len(tokens) - 1
    while tokens[start] < 0 and not begins(tokens[start]):
        start -= 1
    return start


def without_cut(tokens: Sequence[int], length: int) -> int:
    """The most tokens at the start, no more than `length`, that leave no run in two."""
    while 0 < length < len(tokens) and tokens[length] < 0 and not begins(tokens[length]):
        length -= 1
    return length


def beginnings(tokens: Sequence[int]) -> Iterator[int]:
    """The first token of each run."""
    return (token for token in tokens if begins(token))
