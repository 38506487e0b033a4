"""From logits to tokens as llama.cpp's default chain goes, on arrays of MLX.

Processors take the tokens so far and logits `[1, vocabulary]` and give logits: mlx-lm calls them
row by row.  None may raise inside a batch; see `rows.Row`.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from ollmlx.engine.jobs import Sampling, TokenLogprob

Processor = Callable[[mx.array, mx.array], mx.array]
_RUN = 32
"""Tokens whose likeliest is looked at first; as fast as any at 49,152 and at 128,256 tokens."""


class Kind(NamedTuple):
    """What of the chain is on, which rows that are drawn in one call share."""

    top_k: int
    typical: bool
    nucleus: bool
    floor: bool


class Draw:
    """One row's chance: from its own seed, so that it is the same alone and in a batch."""

    def __init__(self, sampling: Sampling) -> None:
        filters = (sampling.typical_p < 1, sampling.top_p < 1, sampling.min_p > 0)
        self.kind = Kind(sampling.top_k, *filters)
        self._dice = random.Random(sampling.seed if sampling.seed >= 0 else None)
        # Bounded so that the likeliest is left whatever is asked for, as by llama.cpp.
        heat = min(max(sampling.temperature, 1e-9), 1e9)
        typical_p, top_p = max(sampling.typical_p, 0.0), max(sampling.top_p, 1e-9)
        least = math.log(sampling.min_p) if 0 < sampling.min_p < 1 else 0.0
        self.numbers = (heat, typical_p, top_p, least)

    def key(self) -> int:
        """64 bits for the next token."""
        return self._dice.getrandbits(64)


def draw(draws: Sequence[Draw], logprobs: mx.array) -> mx.array:
    """Log-probabilities `[rows, vocabulary]` → tokens `[rows]`; all draws are of one kind."""
    keys = np.array([each.key() for each in draws], np.uint64).view(np.uint32).reshape(-1, 2)
    numbers = np.array([each.numbers for each in draws], np.float32)
    tokens: mx.array = _drawing(draws[0].kind)(logprobs, mx.array(keys), mx.array(numbers))
    return tokens


@lru_cache(maxsize=32)
def _drawing(kind: Kind) -> Callable[..., Any]:
    """Log-probabilities `[rows, vocabulary]`, keys `[rows, 2]` and `Draw.numbers` → tokens.

    Compiled, because on a GPU starting so many small kernels costs more than they do.  The numbers
    are arrays: as constants they would be compiled in, and each temperature anew.
    """

    def drawn(logprobs: mx.array, keys: mx.array, numbers: mx.array) -> mx.array:
        heat, typical_p, top_p, least = mx.split(numbers, 4, axis=-1)
        tokens = likeliest(logprobs, kind.top_k)
        kept = mx.take_along_axis(logprobs, tokens, axis=-1)
        if kind.typical:
            kept = _typical(kept, typical_p)
        if kind.nucleus:
            kept = _top_p(kept, top_p)
        best = mx.max(kept, axis=-1, keepdims=True)
        if kind.floor:
            kept = mx.where(kept >= best + least, kept, -mx.inf)
        noise = mx.vmap(lambda key: mx.random.gumbel(kept.shape[1:], key=key))(keys)
        place = mx.argmax((kept - best) / heat + noise, axis=-1, keepdims=True)
        return mx.take_along_axis(tokens, place, axis=-1)[:, 0]

    return mx.compile(drawn)


def likeliest(logprobs: mx.array, top_k: int) -> mx.array:
    """Tokens `[rows, k]`, likeliest first; all of them where `top_k` is off.

    MLX sorts whatever it partitions.  The `k` likeliest lie in those `k` runs of the vocabulary
    whose own likeliest are: sorting these takes a fifth of the time on a processor.
    """
    rows, size = logprobs.shape
    if not 0 < top_k < size:
        return mx.argsort(-logprobs, axis=-1)
    if top_k * _RUN < size:
        if rest := -size % _RUN:
            logprobs = mx.pad(logprobs, [(0, 0), (0, rest)], constant_values=-mx.inf)
        best = mx.max(logprobs.reshape(rows, -1, _RUN), axis=-1)
        runs = mx.argpartition(-best, kth=top_k - 1, axis=-1)[:, :top_k]
        tokens = (runs[:, :, None] * _RUN + mx.arange(_RUN)).reshape(rows, -1)
        order = mx.argsort(-mx.take_along_axis(logprobs, tokens, axis=-1), axis=-1)[:, :top_k]
    else:
        tokens = mx.argpartition(-logprobs, kth=top_k - 1, axis=-1)[:, :top_k]
        order = mx.argsort(-mx.take_along_axis(logprobs, tokens, axis=-1), axis=-1)
    return mx.take_along_axis(tokens, order, axis=-1)


def _top_p(kept: mx.array, mass: mx.array) -> mx.array:
    """The likeliest that together reach `mass`, one at least; `kept` is sorted."""
    chances = mx.softmax(kept, axis=-1, precise=True)
    before = mx.cumsum(chances, axis=-1) - chances
    return mx.where(before < mass, kept, -mx.inf)


def _typical(kept: mx.array, mass: mx.array) -> mx.array:
    """Those whose surprise is nearest the expected one (arXiv:2202.00666), up to `mass`."""
    logs = kept - mx.logsumexp(kept, axis=-1, keepdims=True)
    chances = mx.exp(logs)
    entropy = -mx.sum(mx.where(chances > 0, chances * logs, 0), axis=-1, keepdims=True)
    order = mx.argsort(mx.abs(-logs - entropy), axis=-1)
    sorted_chances = mx.take_along_axis(chances, order, axis=-1)
    near = mx.cumsum(sorted_chances, axis=-1) - sorted_chances <= mass
    back = mx.argsort(order, axis=-1)
    return mx.where(mx.take_along_axis(near, back, axis=-1), kept, -mx.inf)


class Penalties:
    """llama.cpp's repeat, frequency and presence penalties over the last `last_n` tokens."""

    def __init__(self, sampling: Sampling, num_ctx: int) -> None:
        wanted = sampling.repeat_last_n
        self._last_n = num_ctx if wanted < 0 else min(wanted, num_ctx)  # MLX slices by 32 bits
        # As in Ollama, one that cannot be divided by is none.
        self._repeat = sampling.repeat_penalty if sampling.repeat_penalty > 0 else 1.0
        self._frequency = sampling.frequency_penalty
        self._presence = sampling.presence_penalty

    @property
    def wanted(self) -> bool:
        return self._last_n > 0 and (self._repeat, self._frequency, self._presence) != (1, 0, 0)

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        size = logits.shape[-1]
        last = mx.minimum(tokens[-self._last_n :], size)  # the numbers of pictures lie beyond
        counts = mx.zeros(size + 1).at[last].add(1.0)[:size]
        scaled = mx.where(logits <= 0, logits * self._repeat, logits / self._repeat)
        lowered = scaled - counts * self._frequency - self._presence
        return mx.where(counts > 0, lowered, logits)


class Bias:
    """Adds to the logits of some tokens."""

    def __init__(self, sampling: Sampling) -> None:
        self._tokens = mx.array(list(sampling.logit_bias))
        self._values = mx.array(list(sampling.logit_bias.values()), mx.float32)

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        return logits.at[:, self._tokens].add(self._values)


class Recorder:
    """Notes each token's log-probabilities before anything bends them."""

    def __init__(self, top: int, piece: Callable[[int], bytes]) -> None:
        self._top, self._piece = top, piece
        self._steps: deque[mx.array] = deque()

    def forget(self) -> None:
        self._steps.clear()

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        self._steps.append(logits[0] - mx.logsumexp(logits[0]))
        return logits

    def take(self, token: int) -> TokenLogprob:
        """Of the oldest step not yet taken, in which `token` was sampled."""
        logprobs = self._steps.popleft()
        values = np.array(logprobs)
        best = np.array(likeliest(logprobs[None], self._top)[0]) if self._top else ()
        top = [(self._piece(int(i)), float(values[i])) for i in best[: self._top]]
        return TokenLogprob(self._piece(token), float(values[token]), top)
