"""Choosing one sequence's next token: penalties, truncation, chance, grammar, log-probabilities.

The order is llama.cpp's and Ollama's: bias, penalties, top_k, typical_p, top_p, min_p, temperature.
What is off is left out, since each sampler walks the whole vocabulary.  Choosing for several
sequences in threads was measured and does not pay: 16 choices of 70 µs took longer in two.
"""

import ctypes
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as llama
from numpy.typing import NDArray

from ollmlx.engine import media
from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Generate, Sampling, TokenLogprob
from ollmlx.engine.llama.context import Context
from ollmlx.engine.llama.model import Model
from ollmlx.errors import OllmlxError

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_RANDOM_SEED = 0xFFFFFFFF
_SPARE = 2
"""Times as many of the likeliest tokens are looked at as are wanted of those that are allowed."""
_LEAST = 16
"""That are looked at."""
_HEIGHT = 32
"""Of `likeliest`'s columns: fastest at 49,152 and at 128,256 tokens."""


@dataclass(frozen=True)
class Choice:
    token: int
    ends: bool
    """Whether it is an end token, which has no text."""
    complete: bool
    """Whether the grammar lets nothing follow it."""
    logprobs: list[TokenLogprob]
    """One element, or none where none were asked for."""


class Sampler:
    """One answer's way of choosing.  Holds native memory: call `close`."""

    def __init__(self, model: Model, job: Generate, num_ctx: int) -> None:
        """Raises `BadRequest` for a bad grammar."""
        self._model = model
        self._num_logprobs = job.logprobs
        self._matcher = (
            Matcher(model.grammar_tokenizer, job.grammar, model.num_vocab) if job.grammar else None
        )
        self._wide = False
        """Whether nearly all tokens were allowed when that was found last, the likeliest too."""
        self._biased = np.array(list(job.sampling.logit_bias), np.int64)
        self._bias = np.array(list(job.sampling.logit_bias.values()), np.float32)
        self._penalties = Penalties.of(job, num_ctx)
        self._top_k = job.sampling.top_k
        # The likeliest token needs no chain: numpy finds it ten times as fast.
        self._chain = _chain(job.sampling) if job.sampling.temperature > 0 else None

    def prepare(self) -> None:
        """Find what the grammar allows next, while the device still computes the logits."""
        if self._matcher and not self._wide:
            with suppress(OllmlxError):  # told by `choose`: a matcher that failed stays so
                self._matcher.few()

    def choose(self, context: Context, row: int) -> Choice:
        """Take the next token from a row of logits.  Raises `OllmlxError` if the grammar fails."""
        logits = context.logits(row)
        likely = None if self._num_logprobs is None else _log_softmax(logits)
        if len(self._biased):
            logits[self._biased] += self._bias
        if self._penalties:
            self._penalties.apply(logits)
        token = self._token(context, row, logits)
        if self._penalties:
            self._penalties.see(token)
        ends = token in self._model.end_tokens
        if self._matcher and not ends:
            self._matcher.consume(token)
        complete = self._matcher is not None and self._matcher.finished
        logprobs = [] if likely is None else [self._logprob(likely, token)]
        return Choice(token, ends, complete, logprobs)

    def close(self) -> None:
        """Free the chain; a second time does nothing."""
        if self._chain:
            llama.llama_sampler_free(self._chain)
            self._chain = None

    def _token(self, context: Context, row: int, logits: NDArray[np.float32]) -> int:
        """As llama.cpp and Ollama do, choose first and ask the grammar then, where it is likely to
        agree: the mask of a long text takes ten times as long as that question.
        """
        matcher = self._matcher
        if matcher is None or self._wide:
            token = self._among_all(context, row, logits)
            if matcher is None or matcher.allows(token):
                return token
        allowed = self._allowed(matcher, logits)
        if self._chain is None:
            return int(allowed[logits[allowed].argmax()])
        return self._apply(logits, allowed)

    def _among_all(self, context: Context, row: int, logits: NDArray[np.float32]) -> int:
        if self._chain is None:
            return int(logits.argmax())
        if 0 < self._top_k < len(logits):
            return self._apply(logits, likeliest(logits, self._top_k))
        token: int = llama.llama_sampler_sample(self._chain, context.handle, row)
        return token

    def _allowed(self, matcher: Matcher, logits: NDArray[np.float32]) -> NDArray[np.intp]:
        """Tokens that the grammar allows, among them all that can be chosen: masks as wide as the
        vocabulary, of many answers, would push each other out of the processor's cache.
        """
        few = matcher.few()
        self._wide = False
        if few is not None:
            return few
        wanted = 1 if self._chain is None else self._top_k
        looked = max(_LEAST, _SPARE * wanted) if wanted > 0 else len(logits)
        if looked < len(logits):
            likely = likeliest(logits, looked)
            found = matcher.among(likely)
            if len(found) >= wanted:
                self._wide = bool(logits[found].max() == logits[likely].max())
                return found
        allowed = matcher.allowed()
        self._wide = bool(allowed[logits.argmax()])
        return np.flatnonzero(allowed)

    def _apply(self, logits: NDArray[np.float32], allowed: NDArray[np.intp]) -> int:
        """Sample among some tokens only: far cheaper than llama.cpp's own grammar sampler."""
        candidates = np.zeros(len(allowed), _CANDIDATE)
        candidates["id"], candidates["logit"] = allowed, logits[allowed]
        data = ctypes.cast(candidates.ctypes.data, llama.llama_token_data_p)
        array = llama.llama_token_data_array(
            data=data, size=len(candidates), selected=-1, sorted=False
        )
        llama.llama_sampler_apply(self._chain, ctypes.byref(array))
        token: int = array.data[array.selected].id  # a sampler may have swapped `data`
        return token

    def _logprob(self, likely: NDArray[np.float32], token: int) -> TokenLogprob:
        count = min(self._num_logprobs or 0, len(likely))
        top = np.argpartition(-likely, count - 1)[:count] if count else np.empty(0, np.intp)
        order = top[np.argsort(-likely[top], kind="stable")]
        piece = self._model.piece
        return TokenLogprob(
            piece(token), float(likely[token]), [(piece(int(t)), float(likely[t])) for t in order]
        )


class Penalties:
    """llama.cpp's penalties on what was said lately, prompt included as llama-server does.

    Its own sampler looks up every token of the vocabulary, 0.4 ms each time; here only those that
    were said are touched.
    """

    def __init__(self, sampling: Sampling, look_back: int, prompt: Sequence[int]) -> None:
        # As in Ollama, one that cannot be divided by is none.
        self._repeat = np.float32(sampling.repeat_penalty if sampling.repeat_penalty > 0 else 1)
        self._present = np.float32(sampling.presence_penalty)
        self._frequent = np.float32(sampling.frequency_penalty)
        self._said = deque(media.text(prompt[-look_back:]), maxlen=look_back)

    @classmethod
    def of(cls, job: Generate, num_ctx: int) -> "Penalties | None":
        """None where all are off."""
        sampling = job.sampling
        bends = sampling.repeat_penalty != 1 or sampling.presence_penalty
        look_back = num_ctx if sampling.repeat_last_n < 0 else sampling.repeat_last_n
        if not look_back or not (bends or sampling.frequency_penalty):
            return None
        return cls(sampling, look_back, job.prompt)

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Bend a row in place."""
        ids, counts = np.unique(np.array(self._said, np.int32), return_counts=True)
        said = logits[ids]
        said = np.where(said <= 0, said * self._repeat, said / self._repeat)
        logits[ids] = said - counts.astype(np.float32) * self._frequent - self._present

    def see(self, token: int) -> None:
        self._said.append(token)


def likeliest(logits: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Tokens among which are the `count` likeliest: a fifth of the time of llama.cpp's walk.

    The vocabulary is laid out in columns, and the `count`-th best of their maxima is a bound that
    the likeliest all reach: only columns that reach it are looked into.
    """
    height = max(1, min(_HEIGHT, len(logits) // count // 4))
    width = len(logits) // height
    table, rest = logits[: height * width].reshape(height, width), logits[height * width :]
    best = table.max(axis=0)
    bound = np.partition(best, -count)[-count]
    columns = np.flatnonzero(best >= bound)
    row, column = np.divmod(np.flatnonzero(table[:, columns] >= bound), len(columns))
    found = row * width + columns[column]
    return np.concatenate((found, height * width + np.flatnonzero(rest >= bound)))


def _chain(sampling: Sampling) -> Any:
    """llama.cpp's samplers above temperature 0."""
    samplers = []
    if sampling.top_k > 0:
        samplers.append(llama.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p < 1:
        samplers.append(llama.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p < 1:
        samplers.append(llama.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        samplers.append(llama.llama_sampler_init_min_p(sampling.min_p, 1))
    samplers.append(llama.llama_sampler_init_temp(sampling.temperature))
    # llama.cpp takes its largest seed to mean a random one.
    seed = sampling.seed % _RANDOM_SEED if sampling.seed >= 0 else _RANDOM_SEED
    samplers.append(llama.llama_sampler_init_dist(seed))
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for sampler in samplers:
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max()
    result: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum())
    return result
