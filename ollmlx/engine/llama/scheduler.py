"""Continuous batching: every step each answer gains a token, and prompts fill what room is left.

Images are given as vectors, and llama.cpp takes those in calls of their own: a part of one image
a step, once they are made.
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from llama_cpp import llama_cpp as llama

from ollmlx.engine import media
from ollmlx.engine.jobs import Delta, Failed, Finish, Generate, Usage
from ollmlx.engine.llama.batch import Batch, Vectors
from ollmlx.engine.llama.cache import Cache, Sequence
from ollmlx.engine.llama.context import Context
from ollmlx.engine.llama.log import log
from ollmlx.engine.llama.media import Media, Pieces
from ollmlx.engine.llama.model import Model
from ollmlx.engine.llama.sampler import Choice, Sampler
from ollmlx.engine.llama.threads import Threads
from ollmlx.engine.text import TextStream
from ollmlx.errors import OllmlxError

_NO_ROOM = 1
_LEAST_ROOM = 4
"""Tokens a window has beyond those that a context shift keeps, as in llama-server."""
_ADDED_ALIKE = 63
"""Tokens of a step up to which a processor adds up what each attends to in the same way."""
_TAIL = 16
"""Tokens at a prompt's end that the next turn may not have: the template's opening of an answer,
and of the thoughts that it leaves out later."""
_WORTH_KEEPING = 128
"""Tokens of a prompt; shorter ones are read again as fast."""
_PATIENCE = 0.05
"""Seconds that a step waits for vectors where there is nothing else to do."""


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
    vectors: dict[int, Future[Pieces]]
    """Of the images among `pending`, by the first token of each run."""
    cached: int = 0
    tail: int = 0
    """Before so many last tokens of the prompt a copy is kept of what is decoded; 0 for none."""
    count: int = 0
    first: int = field(default=0)

    @property
    def writing(self) -> bool:
        return len(self.pending) == 1 and not self.sees

    @property
    def sees(self) -> bool:
        """Whether an image, or what is left of it, comes next."""
        return self.pending[0] < 0

    def awaited(self) -> Future[Pieces]:
        """The vectors of the image that comes next."""
        return self.vectors[self._next_run()[0]]

    def _next_run(self) -> tuple[int, int]:
        """The first token of the run that comes next, and how many of it are decoded."""
        held = self.sequence.tokens
        if media.begins(self.pending[0]):
            return self.pending[0], 0
        start = media.last_begins(held)
        return held[start], len(held) - start

    def part(self, capacity: int, most: int) -> Vectors:
        """At most that many tokens of the image that comes next: `capacity` of one that the model
        wants whole.
        """
        first, done = self._next_run()
        piece = self.vectors[first].result()[first]
        held = self.sequence.tokens
        start = self.sequence.position - media.positions(held[len(held) - done :])
        part = slice(done, done + (capacity if piece.whole else min(most, capacity)))
        places, vectors = piece.at(start)[:, part], piece.vectors[part]
        last = len(vectors) == len(self.pending)
        return Vectors(vectors, places, self.sequence.id, piece.whole, last)


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
        sight: Media | None = None,
    ) -> None:
        """As many jobs run at once as the cache has sequences, in windows of `num_ctx` tokens."""
        self._sight = sight
        self._model, self._context, self._cache, self._threads = model, context, cache, threads
        self._num_ctx, self._slots = num_ctx, cache.count
        self._batch = Batch(llama.llama_n_batch(context.handle))
        self._pace = cache.pace
        self._waiting: deque[Generate] = deque()
        self._suspended: deque[_Run] = deque()
        """Begun, without cells until others have ended."""
        self._runs: list[_Run] = []

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._runs or self._suspended)

    def submit(self, job: Generate) -> None:
        self._waiting.append(job)

    def cancel(self, job_id: int) -> None:
        for run in [run for run in self._runs if run.job.id == job_id]:
            self._end(run)
        for run in [run for run in self._suspended if run.job.id == job_id]:
            self._suspended.remove(run)
            run.sampler.close()
        self._waiting = deque(job for job in self._waiting if job.id != job_id)

    def step(self) -> list[Delta | Failed]:
        """Decode one batch, and choose a token for each run whose tokens are all decoded."""
        events: list[Delta | Failed] = list(self._admit())
        for run in self._runs:
            self._make_room(run)
        shares = self._fill()
        if shares:
            events += self._compute(self._batch, shares)
        looking = [run for run in self._runs if run.sees]
        seeing = next((run for run in looking if run.awaited().done()), None)
        if seeing:
            events += self._see(seeing, beside=bool(shares))
        elif looking and not shares:
            wait([run.awaited() for run in looking], _PATIENCE, FIRST_COMPLETED)
        return events

    def close(self) -> None:
        for run in list(self._runs):
            self._end(run)
        for run in self._suspended:
            run.sampler.close()
        self._suspended.clear()
        self._waiting.clear()

    # -- who runs --------------------------------------------------------------------------------

    def _admit(self) -> Iterator[Failed]:
        while self._suspended and self._has_room(len(self._suspended[0].pending)):
            self._resume(self._suspended.popleft())
        while (
            self._waiting and not self._suspended and self._has_room(len(self._waiting[0].prompt))
        ):
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
            vectors = self._encode(job, pending)
            tail = 0 if self._cache.rewinds or len(job.prompt) < _WORTH_KEEPING else _TAIL
            self._runs.append(
                _Run(job, sequence, sampler, pending, text, started, vectors, cached, tail)
            )

    def _has_room(self, tokens: int) -> bool:
        """Whether another run may begin with so many."""
        held = sum(len(run.sequence.tokens) + len(run.pending) for run in self._runs)
        fits = not self._runs or held + tokens <= self._cache.cells
        return fits and len(self._runs) < self._slots

    def _suspend(self, run: _Run) -> None:
        """Take a run's cells from it."""
        self._cache.keep(run.sequence)
        run.pending = run.sequence.tokens + run.pending
        self._runs.remove(run)
        self._cache.clear(run.sequence)
        self._cache.release(run.sequence)
        self._suspended.appendleft(run)

    def _resume(self, run: _Run) -> None:
        """Go on with a run: what is not in the cache any more is computed again."""
        run.sequence = self._cache.borrow(run.pending)
        run.pending = run.pending[len(run.sequence.tokens) :]
        run.vectors = self._encode(run.job, run.pending)
        run.tail = 0
        self._runs.append(run)

    def _encode(self, job: Generate, pending: list[int]) -> dict[int, Future[Pieces]]:
        """Have the vectors made of images that are not in the cache."""
        needed, vectors = set(media.beginnings(pending)), dict[int, Future[Pieces]]()
        for medium in job.media:
            if self._sight and needed.intersection(medium.tokens):
                pieces = self._sight.encode(medium)
                vectors |= dict.fromkeys(media.beginnings(medium.tokens), pieces)
        return vectors

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
            if run.writing or run.sees or not room:
                continue
            ahead = len(run.pending) - run.tail
            size = media.leading(run.pending[: min(room, ahead) if ahead > 0 else room])
            if self._waits(len(run.pending)):
                break
            shares.append(self._share(run, size))
            room -= size
        return shares

    def _waits(self, prompt: int) -> bool:
        """Whether a short prompt is read in a step after this one, to be read as it is alone."""
        together = self._batch.size + prompt
        fits_later = prompt + self._slots <= _ADDED_ALIKE
        return self._cache.in_order and fits_later and together > _ADDED_ALIKE

    def _share(self, run: _Run, size: int) -> _Share:
        last = size == len(run.pending)
        sequence = run.sequence
        row = self._batch.add(run.pending[:size], sequence.position, sequence.id, last)
        return _Share(run, size, row if last else None)

    def _see(self, run: _Run, beside: bool) -> list[Delta | Failed]:
        """Decode the next part of an image, a small one if others write beside it."""
        capacity = self._batch.capacity
        try:
            batch = run.part(capacity, self._pace.chunk if beside else capacity)
        except OllmlxError as error:
            self._end(run)
            return [Failed(run.job.id, str(error), error.status)]
        last = batch.size == len(run.pending)
        return self._compute(batch, [_Share(run, batch.size, batch.size - 1 if last else None)])

    def _compute(self, batch: Batch | Vectors, shares: list[_Share]) -> list[Delta | Failed]:
        """Decode a batch, and choose a token for each run whose tokens are all decoded."""
        failed = self._decode(batch, shares)
        if failed is not None:
            return [*failed]
        for share in shares:
            self._cache.grow(share.run.sequence, share.run.pending[: share.size])
            del share.run.pending[: share.size]
            if share.run.tail and len(share.run.pending) == share.run.tail:
                self._cache.keep(share.run.sequence)
        chosen = [(share.run, share.row) for share in shares if share.row is not None]
        return [self._advance(run, row) for run, row in chosen]

    def _decode(self, batch: Batch | Vectors, shares: list[_Share]) -> list[Failed] | None:
        """Compute a batch; if that fails, say so for the jobs that cannot go on."""
        tokens = batch.size

        def prepare() -> None:
            for share in shares:
                if share.row is not None:
                    share.run.sampler.prepare()

        self._context.use_threads(self._threads.choose(tokens))
        status = _NO_ROOM
        while status == _NO_ROOM:
            started = time.perf_counter()
            status = self._context.decode(batch, prepare)
            if status == _NO_ROOM and not self._cache.evict():
                if len(self._runs) == 1:
                    return [self._fail(self._runs[-1], "the context cache has no room left")]
                self._suspend(self._runs[-1])
                return []
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
