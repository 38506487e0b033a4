"""From logits to the next token, as llama.cpp's default chain goes, in the callables mlx-lm takes.

Samplers take log-probabilities `[rows, vocabulary]` and give tokens `[rows]`; processors take the
tokens so far and logits `[1, vocabulary]` and give logits.  None may raise inside a batch; see
`rows.Row`.
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
from numpy.typing import NDArray

from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Sampling, TokenLogprob
from ollmlx.errors import OllmlxError

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


class Constraint:
    """Keeps an answer inside a grammar."""

    mask: mx.array | None = None
    """What may come next, `[1, vocabulary]`; made for each call."""

    def __init__(self, matcher: Matcher, ends: frozenset[int], masks: "Masks") -> None:
        self.matcher, self._ends, self._masks = matcher, ends, masks
        self._sampled: mx.array | None = None
        self._open = True
        self._failure: OllmlxError | None = None

    def watching(self, sampler: Sampler) -> Sampler:
        """`sampler`, its token noted: reading that array does not queue behind the forward pass,
        as the end of `tokens` would."""

        def watched(logprobs: mx.array) -> mx.array:
            self._sampled = sampler(logprobs)
            self._masks.sampled(self)
            return self._sampled

        return watched

    def forget(self) -> None:
        """The last sampled token will not be used."""
        self._sampled = None
        self._masks.forget(self)

    def goes_on(self) -> bool:
        """Take the sampled token, and find what may follow it; False where nothing may."""
        if self._open:
            try:
                self._open = self._follow()
            except OllmlxError as error:  # told by its own call, not by a neighbour's
                self._failure, self._open = error, False
        return self._open

    def _follow(self) -> bool:
        if self._sampled is not None:
            token, self._sampled = int(np.array(self._sampled)[0]), None
            if token in self._ends:
                return False
            self.matcher.consume(token)
        self.matcher.find()
        return True

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        if self.mask is None:
            mx.async_eval(logits)  # type: ignore[no-untyped-call]  # runs while masks are found
            self._masks.make(self)
        if self._failure:
            raise self._failure
        mask, self.mask = self.mask, None
        return logits if mask is None else mx.where(mask, logits, -mx.inf)


class Masks:
    """Of all constrained rows of a batch, sent to the device as one array.

    mlx-lm bends logits row by row: the first row of a step has the masks made of every row whose
    token was sampled in the step before.  Finding them with llguidance's threads was measured and
    does not pay: 32 masks of 27 µs took nearly twice as long in 12.
    """

    def __init__(self, num_vocab: int) -> None:
        """`num_vocab` is the width of the logits."""
        self.num_vocab = num_vocab
        self._bits = mx.array([1 << bit for bit in range(8)], mx.uint8)
        self._due: list[Constraint] = []

    def sampled(self, row: Constraint) -> None:
        """Its mask is due in the next step."""
        self._due.append(row)

    def forget(self, row: Constraint) -> None:
        self._due = [other for other in self._due if other is not row]

    def clear(self) -> None:
        self._due = []

    def make(self, row: Constraint) -> None:
        """Give a row its mask, and all that are due with it theirs.

        A row that is new in the batch takes its first step alone.
        """
        rows = [row]
        if row in self._due:
            rows, self._due = self._due, []
        rows = [row for row in rows if row.goes_on()]
        if rows:
            masks = mx.split(self._unpacked([row.matcher.words for row in rows]), len(rows))
            for row, mask in zip(rows, masks, strict=True):
                row.mask = mask

    def _unpacked(self, words: list[NDArray[np.uint32]]) -> mx.array:
        """Bits as booleans `[rows, vocabulary]`: on the device, so that an eighth of it travels."""
        packed = np.zeros((len(words), -(-self.num_vocab // 32)), np.uint32)
        width = min(packed.shape[1], len(words[0]))
        packed[:, :width] = [row[:width] for row in words]
        octets = mx.array(packed.view(np.uint8))[:, :, None]
        bits = mx.bitwise_and(octets, self._bits) != 0
        return bits.reshape(len(words), -1)[:, : self.num_vocab]


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
