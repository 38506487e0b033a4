"""Vectors of texts: as many texts in a batch as fit, pooled as the GGUF says, else averaged.

A model that reads both ways must see a text whole, and so must one that ranks, so its batch is as
long as its window.  One that reads forwards takes a text in chunks, and its tokens are pooled here.

The cache of a model made to embed is reckoned when it is loaded, and there from then on.  Of one
that writes, it comes beside that of its answers: it is as large as the texts at hand ask for, and
a large one goes with them.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as llama
from numpy.typing import NDArray

from ollmlx.engine.jobs import Embed, Embedded, Failed, LoadOptions
from ollmlx.engine.llama.batch import Batch
from ollmlx.engine.llama.context import Context
from ollmlx.engine.llama.log import log
from ollmlx.engine.llama.model import Model
from ollmlx.engine.llama.threads import Threads
from ollmlx.errors import LoadFailed

_TEXTS = 32
"""Texts in one batch at most."""
_KEPT = 128
"""Tokens of a cache that stays between texts: with outputs for as many, which llama.cpp makes for
the whole vocabulary, it is within what a model is reckoned to take beside weights and cache."""


class _Text:
    """One text on its way through."""

    def __init__(self, tokens: Sequence[int], dimensions: int) -> None:
        self.tokens = tokens
        self.decoded = 0
        self.sequence: int | None = None
        self.vector = np.zeros(dimensions, np.float32)

    @property
    def left(self) -> int:
        return len(self.tokens) - self.decoded


@dataclass
class _Work:
    job: Embed
    texts: list[_Text]

    @property
    def done(self) -> bool:
        return not any(text.left for text in self.texts)


@dataclass
class _Share:
    """A text's part of one batch: `size` rows from `first`."""

    text: _Text
    sequence: int
    first: int
    size: int


class Embedder:
    """The embed jobs of one model.  Raises `LoadFailed` where its context cannot be made."""

    def __init__(self, model: Model, options: LoadOptions, num_ctx: int, threads: Threads) -> None:
        self._model, self._options, self._threads = model, options, threads
        self._pooling = model.pooling or llama.LLAMA_POOLING_TYPE_MEAN
        self._whole = not model.causal or self._pooling == llama.LLAMA_POOLING_TYPE_RANK
        # llama.cpp 0.5 aborts where a batch is smaller than the number of sequences.
        self._size = max(num_ctx if self._whole else min(num_ctx, options.num_batch), _TEXTS)
        # A text half done, and others beside it; or whole ones.
        self._most = self._size if self._whole else num_ctx + self._size
        self._dimensions: int = llama.llama_model_n_embd_out(model.handle)
        if self._whole and self._pooling == llama.LLAMA_POOLING_TYPE_RANK:
            self._dimensions = llama.llama_model_n_cls_out(model.handle)
        self._free = deque(range(_TEXTS))
        self._work: deque[_Work] = deque()
        self._context: Context | None = None
        self._cells = 0
        self._batch = Batch(0)
        self._made_to_embed = bool(model.pooling) or not model.causal
        self._least = self._most if self._made_to_embed else _least(model, self._most)
        if self._made_to_embed:
            self._open(self._most)

    @property
    def busy(self) -> bool:
        return bool(self._work)

    def submit(self, job: Embed) -> None:
        """Texts must fit the window; one without tokens becomes zeros."""
        self._work.append(_Work(job, [_Text(tokens, self._dimensions) for tokens in job.inputs]))

    def cancel(self, job_id: int) -> None:
        for work in [work for work in self._work if work.job.id == job_id]:
            self._drop(work)

    def step(self, most: int | None = None) -> list[Embedded | Failed]:
        """Compute one batch of the texts that wait, of so many tokens at most."""
        try:
            context = self._grown()
        except LoadFailed as error:
            return self._fail(list(self._work), str(error))
        shares = self._fill(most or self._size)
        if shares and (status := self._decode(context)):
            reason = f"llama_decode failed ({status}): {log().errors()}"
            texts = [share.text for share in shares]
            return self._fail([w for w in self._work if any(t in texts for t in w.texts)], reason)
        for share in shares:
            self._collect(share, context)
        finished = [work for work in self._work if work.done]
        for work in finished:
            self._work.remove(work)
        if not (self._work or self._made_to_embed) and self._cells > _KEPT:
            self._give_back()
        return [self._embedded(work) for work in finished]

    def close(self) -> None:
        self._work.clear()
        self._give_back()

    def _grown(self) -> Context:
        """The context, with room for the next texts once none is half done."""
        needed = max([self._least, *self._needed()])
        if not self._context or (needed > self._cells and len(self._free) == _TEXTS):
            self._give_back()
            self._open(needed)
        assert self._context
        return self._context

    def _left(self) -> Iterator[_Text]:
        return (text for work in self._work for text in work.texts if text.left)

    def _needed(self) -> Iterator[int]:
        """Cells that the first text needs, the first two, and so on: as long as another might be
        in the same batch.
        """
        total = longest = 0
        for text in self._left():
            total += len(text.tokens)
            longest = max(longest, len(text.tokens))
            yield min(total, longest + self._size)
            if total > longest + self._size:
                break

    def _open(self, cells: int) -> Context:
        size = max(_TEXTS, min(self._size, cells))

        def adjust(params: Any) -> None:
            params.embeddings = True
            params.n_ctx = cells
            params.n_batch = params.n_ubatch = size
            params.n_seq_max = _TEXTS
            params.n_threads = params.n_threads_batch = self._threads.settled
            params.pooling_type = self._pooling if self._whole else llama.LLAMA_POOLING_TYPE_NONE

        self._context = Context(self._model, self._options, adjust)
        self._cells, self._batch = cells, Batch(size)
        return self._context

    def _give_back(self) -> None:
        if self._context:
            self._context.close()
        self._context, self._cells = None, 0

    def _decode(self, context: Context) -> int:
        tokens, threads = self._batch.size, self._threads
        # Of a model that writes, its answers' steps tell how many: they cost less a token.
        context.use_threads(threads.choose(tokens) if self._made_to_embed else threads.settled)
        started = time.perf_counter()
        status = context.decode(self._batch)
        if self._made_to_embed:
            threads.note(tokens, time.perf_counter() - started)
        return status

    def _fill(self, most: int) -> list[_Share]:
        self._batch.clear()
        shares: list[_Share] = []
        for text, needed in zip(self._left(), self._needed(), strict=False):
            size = min(text.left, self._batch.room, most - self._batch.size)
            if not size or (self._whole and size < text.left) or not self._free:
                break
            if needed > self._cells:
                break
            sequence = self._free.popleft() if text.sequence is None else text.sequence
            tokens = text.tokens[text.decoded : text.decoded + size]
            first = self._batch.size
            self._batch.add(tokens, text.decoded, sequence, True)
            text.sequence = sequence
            shares.append(_Share(text, sequence, first, size))
        return shares

    def _collect(self, share: _Share, context: Context) -> None:
        text = share.text
        text.decoded += share.size
        if self._whole:
            text.vector[:] = self._pooled(context, share.sequence)
        else:
            self._pool(context, text, share)
        if not text.left:
            self._release(text)

    def _pooled(self, context: Context, sequence: int) -> NDArray[np.float32]:
        """What llama.cpp pooled; valid until the next decode."""
        pointer = llama.llama_get_embeddings_seq(context.handle, sequence)
        return np.ctypeslib.as_array(pointer, (self._dimensions,))

    def _pool(self, context: Context, text: _Text, share: _Share) -> None:
        """Add a chunk's tokens to the text's vector."""
        pointer = llama.llama_get_embeddings(context.handle)
        rows = np.ctypeslib.as_array(pointer, (self._batch.size, self._dimensions))
        rows = rows[share.first : share.first + share.size]
        if self._pooling == llama.LLAMA_POOLING_TYPE_LAST:
            text.vector[:] = rows[-1]
        elif self._pooling == llama.LLAMA_POOLING_TYPE_CLS:
            if text.decoded == share.size:
                text.vector[:] = rows[0]
        else:
            text.vector += rows.sum(axis=0) / len(text.tokens)

    def _embedded(self, work: _Work) -> Embedded:
        vectors = b"".join(text.vector.astype("<f4").tobytes() for text in work.texts)
        return Embedded(work.job.id, self._dimensions, vectors)

    def _fail(self, failed: list[_Work], reason: str) -> list[Embedded | Failed]:
        for work in failed:
            self._drop(work)
        return [Failed(work.job.id, reason) for work in failed]

    def _drop(self, work: _Work) -> None:
        self._work.remove(work)
        for text in work.texts:
            self._release(text)

    def _release(self, text: _Text) -> None:
        """Give its cells and its sequence back."""
        if text.sequence is None:
            return
        if self._context and self._context.memory:
            llama.llama_memory_seq_rm(self._context.memory, text.sequence, -1, -1)
        self._free.append(text.sequence)
        text.sequence = None


def _least(model: Model, most: int) -> int:
    """Cells.  Phi 3 has other frequencies for windows longer than one it was first trained for:
    where `most` of them would have those, any number must.
    """
    trained = model.metadata("{arch}.rope.scaling.original_context_length")
    return 1 + int(trained) if trained and int(trained) < most else _TEXTS
