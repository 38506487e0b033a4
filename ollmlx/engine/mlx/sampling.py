"""From logits to the next token, as llama.cpp's default chain goes, in the callables mlx-lm takes.

Samplers take log-probabilities `[rows, vocabulary]` and give tokens `[rows]`; processors take the
tokens so far and logits `[1, vocabulary]` and give logits.  None may raise inside a batch; see
`mlx_rows.Row.guarded`.
"""

import math
import secrets
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Sampling, TokenLogprob

Sampler = Callable[[mx.array], mx.array]
Processor = Callable[[mx.array, mx.array], mx.array]


class Widened:
    """A model whose logits are float32, for mlx-lm's batch to call.

    In half precision one row's float32 penalties would widen its neighbours' logits too, and
    their tokens would depend on the company they keep.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def __call__(self, tokens: mx.array, cache: list[object]) -> mx.array:
        logits: mx.array = self._model(tokens, cache=cache)
        return logits.astype(mx.float32)

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)


def greedy(logprobs: mx.array) -> mx.array:
    """Rows that share this very function are sampled in one call."""
    return mx.argmax(logprobs, axis=-1)


def sampler_for(sampling: Sampling) -> Sampler:
    return greedy if sampling.temperature <= 0 else Draw(sampling)


class Draw:
    """Draws one row's tokens with a random key of its own: the same alone and in a batch."""

    def __init__(self, sampling: Sampling) -> None:
        seed = sampling.seed if sampling.seed >= 0 else secrets.randbits(63)
        self._key = mx.random.key(seed % 2**64)
        filters = (sampling.typical_p < 1, sampling.top_p < 1, sampling.min_p > 0)
        self._draw = _drawing(sampling.top_k, *filters)
        self._numbers = _numbers(sampling)

    def __call__(self, logprobs: mx.array) -> mx.array:
        token: mx.array
        token, self._key = self._draw(logprobs, self._key, *self._numbers)
        return token


def _numbers(sampling: Sampling) -> list[mx.array]:
    """Heat, typical_p, top_p and the logarithm of min_p."""
    least = math.log(sampling.min_p) if sampling.min_p > 0 else 0.0
    heat = max(sampling.temperature, 1e-9)
    return [mx.array(n) for n in (heat, sampling.typical_p, max(sampling.top_p, 1e-9), least)]


@lru_cache(maxsize=32)
def _drawing(top_k: int, typical: bool, nucleus: bool, floor: bool) -> Callable[..., Any]:
    """Log-probabilities `[1, vocabulary]`, a key and `_numbers` → a token `[1]` and the next key.

    Compiled, because on a GPU starting so many small kernels costs more than they do.  The numbers
    are arrays: as constants they would be compiled in, and each temperature anew.
    """

    def draw(
        logprobs: mx.array,
        key: mx.array,
        heat: mx.array,
        typical_p: mx.array,
        top_p: mx.array,
        least: mx.array,
    ) -> tuple[mx.array, mx.array]:
        tokens = _likeliest(logprobs, top_k)
        kept = mx.take_along_axis(logprobs, tokens, axis=-1)
        if typical:
            kept = _typical(kept, typical_p)
        if nucleus:
            kept = _top_p(kept, top_p)
        best = mx.max(kept, axis=-1, keepdims=True)
        if floor:
            kept = mx.where(kept >= best + least, kept, -mx.inf)
        following, now = mx.random.split(key)
        place = mx.random.categorical((kept - best) / heat, key=now)
        return mx.take_along_axis(tokens, place[:, None], axis=-1)[:, 0], following

    return mx.compile(draw)


def _likeliest(logprobs: mx.array, top_k: int) -> mx.array:
    """Tokens `[rows, k]`, likeliest first; all of them where `top_k` is off."""
    if not 0 < top_k < logprobs.shape[-1]:
        return mx.argsort(-logprobs, axis=-1)
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
        self._last_n = num_ctx if sampling.repeat_last_n < 0 else sampling.repeat_last_n
        self._repeat = sampling.repeat_penalty
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


class Constraint:
    """Keeps an answer inside a grammar."""

    def __init__(self, matcher: Matcher, ends: frozenset[int]) -> None:
        self._matcher, self._ends = matcher, ends
        self._sampled: mx.array | None = None

    def watching(self, sampler: Sampler) -> Sampler:
        """`sampler`, its token noted: reading that array does not queue behind the forward pass,
        as the end of `tokens` would."""

        def watched(logprobs: mx.array) -> mx.array:
            self._sampled = sampler(logprobs)
            return self._sampled

        return watched

    def forget(self) -> None:
        """The last sampled token will not be used."""
        self._sampled = None

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        mx.async_eval(logits)  # type: ignore[no-untyped-call]  # runs while the mask is made
        if self._sampled is not None:
            token = int(np.array(self._sampled)[0])
            if token in self._ends:
                return logits
            self._matcher.consume(token)
        return mx.where(mx.array(self._matcher.allowed()), logits, -mx.inf)


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
        likeliest = np.array(_likeliest(logprobs[None], self._top)[0]) if self._top else ()
        top = [(self._piece(int(i)), float(values[i])) for i in likeliest[: self._top]]
        return TokenLogprob(self._piece(token), float(values[token]), top)
