"""One answer on its way through the batch: what it still wants, what it has, when it ends."""

from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

import mlx.core as mx

from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Delta, Failed, Finish, Generate, Usage
from ollmlx.engine.mlx.choosing import Constraint, Way
from ollmlx.engine.mlx.sampling import Bias, Draw, Penalties, Processor, Recorder
from ollmlx.engine.mlx.vocabulary import Vocabulary
from ollmlx.engine.text import TextStream
from ollmlx.errors import BadRequest, OllmlxError

if TYPE_CHECKING:  # they import mlx-vlm, which need not be there
    from ollmlx.engine.mlx.seeing import Picture
    from ollmlx.engine.mlx.vision import Pieces


class Row:
    """Outlives its place in the batch: after a context shift it goes in again as it is."""

    prompt: list[int]
    """What is read before the next token; after a shift, a part of prompt and answer."""
    cached = 0
    """Of the job's prompt, the tokens that were not read again."""
    boundary = 0
    """Tokens after which the cache is kept, on models whose caches cannot be cut; 0 is nowhere."""
    pieces: "Pieces"
    """Of its pictures, those that were encoded for it."""
    pictures: "Sequence[Picture]" = ()
    """Where they lie in the batch's prompt."""
    decoding = False

    def __init__(self, job: Generate, words: Vocabulary, num_ctx: int, num_vocab: int) -> None:
        """`num_vocab` is the width of the logits.

        Raises `BadRequest` for a prompt that does not fit and for a bad grammar.
        """
        _check(job, num_ctx, num_vocab)
        self.job, self.prompt, self.pieces = job, list(job.prompt), {}
        self._num_ctx, self._adds_bos = num_ctx, words.adds_bos
        self._made: list[int] = []
        self._sampled = 0  # tokens made and the end token: what Ollama counts
        self._read = 0  # of the tokens made, those that `prompt` already holds
        self._text, self._spell = TextStream(job.stop), words.speller()
        self._recorder = None if job.logprobs is None else Recorder(job.logprobs, words.piece)
        drawn = Draw(job.sampling) if job.sampling.temperature > 0 else None
        self.way = Way(drawn, _constraint(job, words, num_vocab))
        self._failed: OllmlxError | None = None
        self.processors = self._guarded_processors()
        self._started = self._first = 0

    @property
    def room(self) -> int:
        """Tokens until the answer or the window is full."""
        wanted = self.job.max_tokens - len(self._made)
        return min(wanted, self._num_ctx - len(self.prompt))

    @property
    def failure(self) -> Failed | None:
        """What ended it inside the batch."""
        error = self._failed or (self.way.constraint and self.way.constraint.failure)
        return Failed(self.job.id, str(error), error.status) if error else None

    def start(self) -> None:
        """Its prompt begins to be read; the first time counts."""
        self._started = self._started or perf_counter_ns()

    def take(self, token: int, ended: Finish | None) -> Delta:
        """The next token, with the batch's own reason for ending there.

        Where the delta's `finish` is None although the batch ended, the window is full: `shift`.
        """
        self._first = self._first or perf_counter_ns()
        self._sampled += 1
        if ended == "stop":
            return self._delta(self._text.flush(), [], "stop")
        self._made.append(token)
        text = self._text.push(self._spell(token))
        finish = self._finish(ended)
        return self._delta(text + self._text.flush() if finish else text, [token], finish)

    def shift(self) -> None:
        """Keep the first `num_keep` tokens and the newer half of the others, to be read anew.

        MLX's caches cannot be moved to other positions in place, as llama.cpp's can.
        """
        context = self.prompt + self._made[self._read :]
        keep = self.job.num_keep if self.job.num_keep >= 0 else len(self.job.prompt)
        keep = max(0, min(keep + self._adds_bos, self._num_ctx - 4, len(context) - 1))
        dropped = max((len(context) - keep) // 2, 1)
        self.prompt = context[:keep] + context[keep + dropped :]
        self._read = len(self._made)
        self.decoding = False
        self._forget()

    def _forget(self) -> None:
        """What was sampled ahead will not be used."""
        for step_ahead in (self._recorder, self.way.constraint):
            if step_ahead:
                step_ahead.forget()

    def _finish(self, ended: Finish | None) -> Finish | None:
        if self._text.stopped:
            return "stop"
        full = len(self._made) >= self.job.max_tokens or (ended and not self._shifts)
        return "length" if full else None

    @property
    def _shifts(self) -> bool:
        """Half a picture says nothing."""
        return self.job.shift and not self.job.media

    def _delta(self, text: str, tokens: list[int], finish: Finish | None) -> Delta:
        recorder = self._recorder
        logprobs = [recorder.take(token) for token in tokens] if recorder else []
        if finish:
            self._forget()
        return Delta(self.job.id, text, tokens, logprobs, finish, self._usage() if finish else None)

    def _usage(self) -> Usage:
        return Usage(
            prompt_tokens=len(self.job.prompt),
            cached_tokens=self.cached,
            prompt_ns=self._first - self._started,
            tokens=self._sampled,
            eval_ns=perf_counter_ns() - self._first,
        )

    def _guarded_processors(self) -> list[Processor]:
        penalties = Penalties(self.job.sampling, self._num_ctx)
        bias = Bias(self.job.sampling) if self.job.sampling.logit_bias else None
        bends = penalties if penalties.wanted else None
        wanted = [self._recorder, bias, bends]
        return [self._guarded(processor) for processor in wanted if processor is not None]

    def _guarded(self, processor: Processor) -> Processor:
        """What raises inside mlx-lm's batch spoils the neighbours' caches: note it and go on."""

        def safe(tokens: mx.array, logits: mx.array) -> mx.array:
            try:
                return processor(tokens, logits)
            except (RuntimeError, ValueError) as error:  # MLX's
                self._failed = self._failed or OllmlxError(str(error))
                return logits

        return safe


def _check(job: Generate, num_ctx: int, num_vocab: int) -> None:
    if not job.prompt:
        raise BadRequest("empty prompt")
    shown = {token for medium in job.media for token in medium.tokens if token < 0}
    if not all(0 <= token < num_vocab or token in shown for token in job.prompt):
        raise BadRequest(f"token ids must be from 0 to {num_vocab - 1}")
    if len(job.prompt) >= num_ctx:
        raise BadRequest(
            f"input length ({len(job.prompt)} tokens) exceeds the model's maximum context length "
            f"({num_ctx} tokens)"
        )


def _constraint(job: Generate, words: Vocabulary, num_vocab: int) -> Constraint | None:
    if not job.grammar:
        return None
    try:
        matcher = Matcher(words.grammars, job.grammar, num_vocab)
    except ValueError as error:  # llguidance on a vocabulary that it cannot take
        raise OllmlxError(f"this model cannot follow a format: {error}") from error
    return Constraint(matcher, words.ends)
