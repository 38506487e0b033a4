"""Continuous batching: every step each answer gains a token, and prompts fill what room is left."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from llama_cpp import llama_cpp as llama

from ollmlx.engine.jobs import Delta, Failed, Finish, Generate, Usage
from ollmlx.engine.llama_batch import Batch
from ollmlx.engine.llama_cache import Cache, Sequence
from ollmlx.engine.llama_context import Context
from ollmlx.engine.llama_log import log
from ollmlx.engine.llama_model import Model
from ollmlx.engine.llama_sampler import Choice, Sampler
from ollmlx.engine.llama_threads import Pace, Threads
from ollmlx.engine.text import TextStream
from ollmlx.errors import OllmlxError

_NO_ROOM = 1
_LEAST_ROOM = 4
"""Tokens a window has beyond those that a context shift keeps, as in llama-server."""


@dataclass(eq=False)
class _Run:
    """A job that has a sequence."""

    job: Generate
    sequence: Sequence
    sampler: Sampler
    pending: list[int]
    """Tokens to decode before the next can be chosen: what is left of the prompt, then one."""
    text: TextStream
    started: int
    cached: int = 0
    count: int = 0
    first: int = field(default=0)

    @property
    def writing(self) -> bool:
        return len(self.pending) == 1


@dataclass
class _Share:
    """A run's part of one batch; `row` is where its next token is chosen, if it is."""

    run: _Run
    size: int
    row: int | None


class Scheduler:
    """The generate jobs of one model."""

    def __init__(
        self,
        model: Model,
        context: Context,
        cache: Cache,
        threads: Threads,
        num_ctx: int,
        slots: int,
    ) -> None:
        """At most `slots` jobs run at once, each in a window of `num_ctx` tokens."""
        self._model, self._context, self._cache, self._threads = model, context, cache, threads
        self._num_ctx, self._slots = num_ctx, slots
        self._batch = Batch(llama.llama_n_batch(context.handle))
        self._pace = Pace()
        self._waiting: deque[Generate] = deque()
        self._runs: list[_Run] = []

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._runs)

    def submit(self, job: Generate) -> None:
        self._waiting.append(job)

    def cancel(self, job_id: int) -> None:
        for run in [run for run in self._runs if run.job.id == job_id]:
            self._end(run)
        self._waiting = deque(job for job in self._waiting if job.id != job_id)

    def step(self) -> list[Delta | Failed]:
        """Decode one batch, and choose a token for each run whose tokens are all decoded."""
        events: list[Delta | Failed] = list(self._admit())
        for run in self._runs:
            self._make_room(run)
        shares = self._fill()
        if not shares:
            return events
        failed = self._decode(shares)
        if failed is not None:
            return [*events, *failed]
        for share in shares:
            share.run.sequence.tokens += share.run.pending[: share.size]
            del share.run.pending[: share.size]
        chosen = [(share.run, share.row) for share in shares if share.row is not None]
        return events + [self._advance(run, row) for run, row in chosen]

    def close(self) -> None:
        for run in list(self._runs):
            self._end(run)
        self._waiting.clear()

    # -- who runs --------------------------------------------------------------------------------

    def _admit(self) -> Iterator[Failed]:
        while self._waiting and len(self._runs) < self._slots:
            job = self._waiting.popleft()
            started = time.perf_counter_ns()
            try:
                sampler = Sampler(self._model, job, self._num_ctx)
            except OllmlxError as error:
                yield Failed(job.id, str(error), error.status)
                continue
            sequence = self._cache.borrow(job.prompt)
            cached = len(sequence.tokens)
            text = TextStream(job.stop)
            pending = job.prompt[cached:]
            self._runs.append(_Run(job, sequence, sampler, pending, text, started, cached))

    def _end(self, run: _Run) -> None:
        self._runs.remove(run)
        run.sampler.close()
        self._cache.release(run.sequence)

    def _fail(self, run: _Run, reason: str) -> Failed:
        self._cache.clear(run.sequence)
        self._end(run)
        return Failed(run.job.id, reason)

    # -- one batch -------------------------------------------------------------------------------

    def _make_room(self, run: _Run) -> None:
        """Shift the context of an answer that fills its window."""
        if run.writing and len(run.sequence.tokens) >= self._num_ctx:
            keep = len(run.job.prompt) if run.job.num_keep < 0 else run.job.num_keep
            keep += bool(llama.llama_vocab_get_add_bos(self._model.vocab))
            again = self._cache.shift(run.sequence, max(0, min(keep, self._num_ctx - _LEAST_ROOM)))
            run.pending = again + run.pending

    def _fill(self) -> list[_Share]:
        """One token of each run that writes, then prompts, first come first."""
        self._batch.clear()
        shares = [self._share(run, 1) for run in self._runs if run.writing]
        room = self._batch.room
        if shares:
            room = min(room, self._pace.chunk)
        for run in self._runs:
            size = min(len(run.pending), room)
            if run.writing or not size:
                continue
            shares.append(self._share(run, size))
            room -= size
        return shares

    def _share(self, run: _Run, size: int) -> _Share:
        last = size == len(run.pending)
        sequence = run.sequence
        row = self._batch.add(run.pending[:size], len(sequence.tokens), sequence.id, last)
        return _Share(run, size, row if last else None)

    def _decode(self, shares: list[_Share]) -> list[Failed] | None:
        """Compute the batch; if that fails, say so for the jobs that cannot go on."""
        tokens = self._batch.size
        self._context.use_threads(self._threads.choose(tokens))
        status = _NO_ROOM
        while status == _NO_ROOM:
            started = time.perf_counter()
            status = self._context.decode(self._batch)
            if status == _NO_ROOM and not self._cache.evict():
                return [self._fail(self._runs[-1], "the context cache has no room left")]
        if status:
            reason = f"llama_decode failed ({status}): {log().errors()}"
            return [self._fail(share.run, reason) for share in shares]
        seconds = time.perf_counter() - started
        self._threads.note(tokens, seconds)
        self._pace.note(tokens, seconds)
        return None

    # -- one token -------------------------------------------------------------------------------

    def _advance(self, run: _Run, row: int) -> Delta | Failed:
        """Choose a run's next token."""
        try:
            choice = run.sampler.choose(self._context, row)
        except OllmlxError as error:
            self._end(run)
            return Failed(run.job.id, str(error), error.status)
        run.count += 1
        run.first = run.first or time.perf_counter_ns()
        text = "" if choice.ends else run.text.push(self._model.piece(choice.token))
        finish = self._finish(run, choice)
        usage = None
        if finish is None:
            run.pending = [choice.token]
        else:
            text += run.text.flush()
            usage = self._usage(run)
            self._end(run)
        if choice.ends:
            return Delta(run.job.id, text, finish=finish, usage=usage)
        return Delta(run.job.id, text, [choice.token], choice.logprobs, finish, usage)

    def _finish(self, run: _Run, choice: Choice) -> Finish | None:
        if choice.ends or choice.complete or run.text.stopped:
            return "stop"
        full = len(run.sequence.tokens) + 1 >= self._num_ctx
        if run.count >= run.job.max_tokens:
            return "length"
        return "length" if full and not (run.job.shift and self._cache.can_shift) else None

    def _usage(self, run: _Run) -> Usage:
        prompt_ns = run.first - run.started
        eval_ns = max(time.perf_counter_ns() - run.first, 1)
        return Usage(len(run.job.prompt), run.cached, prompt_ns, run.count, eval_ns)
