"""Choosing one sequence's next token: penalties, truncation, chance, grammar, log-probabilities.

The order is llama.cpp's and Ollama's: penalties, top_k, typical_p, top_p, min_p, temperature.
What is off is left out, since each sampler walks the whole vocabulary.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as llama
from numpy.typing import NDArray

from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Generate, Sampling, TokenLogprob
from ollmlx.engine.llama_context import Context
from ollmlx.engine.llama_model import Model

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_RANDOM_SEED = 0xFFFFFFFF


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
        self._chain = _chain(job.sampling, model.num_vocab, num_ctx)
        look_back = _look_back(job.sampling, num_ctx)
        # As llama-server does, the penalties see the prompt; they keep no more than they look at.
        for token in job.prompt[-look_back:] if look_back else []:
            llama.llama_sampler_accept(self._chain, token)

    def choose(self, context: Context, row: int) -> Choice:
        """Take the next token from a row of logits.  Raises `OllmlxError` if the grammar fails."""
        logits = context.logits(row)
        likely = None if self._num_logprobs is None else _log_softmax(logits)
        if self._matcher:
            token = self._apply(logits, np.flatnonzero(self._matcher.allowed()))
        else:
            token = llama.llama_sampler_sample(self._chain, context.handle, row)
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
        llama.llama_sampler_accept(self._chain, token)
        return token

    def _logprob(self, likely: NDArray[np.float32], token: int) -> TokenLogprob:
        count = min(self._num_logprobs or 0, len(likely))
        top = np.argpartition(-likely, count - 1)[:count] if count else np.empty(0, np.intp)
        order = top[np.argsort(-likely[top], kind="stable")]
        piece = self._model.piece
        return TokenLogprob(
            piece(token), float(likely[token]), [(piece(int(t)), float(likely[t])) for t in order]
        )


def _look_back(sampling: Sampling, num_ctx: int) -> int:
    """Tokens the penalties look back on, 0 if they are off."""
    off = sampling.repeat_penalty == 1 and not (
        sampling.presence_penalty or sampling.frequency_penalty
    )
    if off:
        return 0
    return num_ctx if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, num_ctx)


def _chain(sampling: Sampling, num_vocab: int, num_ctx: int) -> Any:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for sampler in _samplers(sampling, num_vocab, num_ctx):
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


def _samplers(sampling: Sampling, num_vocab: int, num_ctx: int) -> Sequence[Any]:
    made = []
    if look_back := _look_back(sampling, num_ctx):
        made.append(
            llama.llama_sampler_init_penalties(
                num_vocab,
                look_back,
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        )
    if sampling.temperature <= 0:
        return [*made, llama.llama_sampler_init_greedy()]
    if sampling.top_k > 0:
        made.append(llama.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p < 1:
        made.append(llama.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p < 1:
        made.append(llama.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        made.append(llama.llama_sampler_init_min_p(sampling.min_p, 1))
    made.append(llama.llama_sampler_init_temp(sampling.temperature))
    # llama.cpp takes its largest seed to mean a random one.
    seed = sampling.seed % _RANDOM_SEED if sampling.seed >= 0 else _RANDOM_SEED
    return [*made, llama.llama_sampler_init_dist(seed)]


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max()
    result: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum())
    return result
