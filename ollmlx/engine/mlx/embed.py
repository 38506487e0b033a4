"""Texts → vectors: the model's last hidden states, pooled, a bounded number of tokens a step."""

from collections import deque
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray

from ollmlx.engine.jobs import Embed, Embedded, Failed
from ollmlx.engine.mlx.folder import REFUSALS, read_json
from ollmlx.engine.mlx.ranking import Judge
from ollmlx.errors import BadRequest, OllmlxError


class Embedder:
    """First come, first served, one text after the other, beside the answers that are written."""

    def __init__(
        self, model: nn.Module, folder: Path, judge: Judge | None, num_ctx: int, num_batch: int
    ) -> None:
        """With a `judge`, a text's vector is its score."""
        self._model, self._body, self._judge = model, _body(model), judge
        self._pooling = "last" if judge else _pooling(folder)
        self._num_ctx, self._num_batch = num_ctx, num_batch
        self._waiting: deque[_Texts] = deque()

    @property
    def able(self) -> bool:
        return self._body is not None

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def add(self, job: Embed) -> None:
        """Raises `OllmlxError` for what cannot be embedded."""
        if not self.able:
            raise OllmlxError("this model does not support embeddings")
        if not all(job.inputs):
            raise BadRequest("input content cannot be empty")
        if any(len(tokens) > self._num_ctx for tokens in job.inputs):
            raise BadRequest("the input length exceeds the context length")
        self._waiting.append(_Texts(job))

    def cancel(self, job_id: int) -> None:
        self._waiting = deque(texts for texts in self._waiting if texts.job.id != job_id)

    def step(self) -> list[Embedded | Failed]:
        """Read about `num_batch` tokens; what became complete."""
        events: list[Embedded | Failed] = []
        budget = self._num_batch
        while self._waiting and budget > 0:
            texts = self._waiting[0]
            try:
                budget -= self._read(texts, budget)
            except REFUSALS as error:
                events.append(Failed(texts.job.id, f"embedding failed: {error}"))
                self._waiting.popleft()
                continue
            if texts.complete:
                events.append(texts.answer())
                self._waiting.popleft()
        return events

    def _read(self, texts: "_Texts", budget: int) -> int:
        """Read on in the text that is under way; how many tokens that cost, one at least."""
        if texts.complete:
            return 1
        tokens = texts.job.inputs[len(texts.vectors)]
        piece = tokens[texts.read : texts.read + budget]
        if not texts.read:
            texts.cache = make_prompt_cache(self._model)
        assert self._body is not None
        states = self._body(mx.array([piece]), cache=texts.cache)[0].astype(mx.float32)
        texts.pool(np.array(states), self._pooling)
        texts.read += len(piece)
        if texts.read == len(tokens):
            vector = texts.finish(self._pooling)
            judged = self._judge.score(self._model, vector) if self._judge else vector
            texts.vectors.append(judged)
        return len(piece)


class _Texts:
    """How far one job is."""

    def __init__(self, job: Embed) -> None:
        self.job = job
        self.vectors: list[NDArray[np.float32]] = []
        self.read = 0
        self.cache: list[object] = []
        self._pooled: NDArray[np.float32] | None = None

    @property
    def complete(self) -> bool:
        return len(self.vectors) == len(self.job.inputs)

    def pool(self, states: NDArray[np.float32], pooling: str) -> None:
        """Take in the states `[tokens, dimensions]` of a piece."""
        if pooling == "last" or (pooling == "first" and self._pooled is None):
            self._pooled = states[-1 if pooling == "last" else 0]
        elif pooling == "mean":
            before = 0 if self._pooled is None else self._pooled
            self._pooled = before + states.sum(axis=0)

    def finish(self, pooling: str) -> NDArray[np.float32]:
        """The vector of the text, which is read to its end."""
        assert self._pooled is not None
        vector = self._pooled / np.float32(self.read if pooling == "mean" else 1)
        self.read, self._pooled, self.cache = 0, None, []
        return vector

    def answer(self) -> Embedded:
        dimensions = len(self.vectors[0]) if self.vectors else 0
        rows = np.array(self.vectors, "<f4")
        return Embedded(self.job.id, dimensions, rows.tobytes())


def _body(model: nn.Module) -> nn.Module | None:
    """The part of the model that gives hidden states instead of logits, where it has one."""
    for owner in (model, getattr(model, "language_model", None)):
        if isinstance(body := getattr(owner, "model", None), nn.Module):
            return body
    return None


def _pooling(folder: Path) -> str:
    """What sentence-transformers noted beside the model; else the mean."""
    settings = read_json(folder / "1_Pooling" / "config.json")
    if settings.get("pooling_mode_lasttoken"):
        return "last"
    return "first" if settings.get("pooling_mode_cls_token") else "mean"
