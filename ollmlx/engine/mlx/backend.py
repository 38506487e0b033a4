"""MLX models, through mlx-lm's `BatchGenerator` and only its public members.

One thread makes, uses and closes a backend: MLX's streams belong to the thread that made them.
"""

import itertools
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache

from ollmlx import sight
from ollmlx.engine import media
from ollmlx.engine.backend import Report
from ollmlx.engine.fit import explained
from ollmlx.engine.jobs import (
    Delta,
    Embed,
    Embedded,
    Failed,
    Generate,
    LoadOptions,
    Medium,
    ModelInfo,
)
from ollmlx.engine.mlx import cuda, device
from ollmlx.engine.mlx.choosing import Chooser, Seated
from ollmlx.engine.mlx.embed import Embedder
from ollmlx.engine.mlx.folder import (
    REFUSALS,
    amiss,
    context_limit,
    has_eyes,
    load_weights,
    read_config,
)
from ollmlx.engine.mlx.prefixes import Cache, Prefixes, common
from ollmlx.engine.mlx.ranking import RANKING, judge
from ollmlx.engine.mlx.rows import Row
from ollmlx.engine.mlx.vocabulary import Vocabulary
from ollmlx.errors import BadRequest, LoadFailed, OllmlxError

if TYPE_CHECKING:  # it imports mlx-vlm, which need not be there
    from ollmlx.engine.mlx.seeing import Seeing

_IDLE_CHUNK = 2048
"""Prompt tokens read in a step while no answer waits for it."""
_TAIL = 16
"""A cache that cannot be cut is kept this far before a prompt's end too: what follows there, the
head of the answer, is written anew by some templates on the next turn."""
_LOOK_SECONDS = 0.1
"""Of encoding a picture between two tokens of the answers that are being written."""
_WORTH_COPYING = 32
"""Tokens that a running answer must have read for another before its cache is copied."""
_WINDOWS_KEPT = 2
"""Full context windows that the prefix cache has room for."""


class MlxBackend:
    def __init__(self, path: str, options: LoadOptions, report: Report) -> None:
        folder = Path(path)
        device.prepare(options)
        config = read_config(folder)
        self._words = Vocabulary(folder, config)
        self._blind = _blindness(folder, config)
        self._sight = None if self._blind else _seeing(folder, config, options, report)
        self._model = self._sight or _reading(folder, config, options, report)
        on_cuda = mx.cuda.is_available() and not device.on_cpu()
        if on_cuda:
            cuda.flatten_rows(self._model)
        num_ctx = min(options.num_ctx, context_limit(config) or options.num_ctx)
        num_vocab, layers = _try_out(self._model, config)
        if on_cuda:
            cuda.warm(self._model, num_vocab, options.num_parallel)
        window = sum(_grown(layer, num_ctx) for layer in layers)
        self._cuttable = all(_stays_cuttable(layer, num_ctx) for layer in layers)
        self._prefixes = Prefixes(_WINDOWS_KEPT * window)
        self._judge = judge(folder, config, self._words)
        self._embedder = Embedder(self._model, folder, self._judge, num_ctx, options.num_batch)
        self._options = options
        self._chooser = Chooser(num_vocab)
        self._waiting: deque[Row] = deque()
        self._live: dict[int, Row] = {}
        self._events: list[Delta | Embedded | Failed] = []
        self._generator = self._new_generator()
        caches = window * (options.num_parallel + _WINDOWS_KEPT)
        self.info = self._describe(num_ctx, num_vocab, caches)
        report(1.0)

    def tokenize(self, text: str, special: bool) -> list[int]:
        return self._words.tokenize(text, special)

    def detokenize(self, tokens: list[int]) -> str:
        return self._words.detokenize(tokens)

    def look(self, files: list[bytes]) -> list[list[int]]:
        if self._sight is None:
            raise BadRequest(self._blind)
        return [self._sight.look(file) for file in files]

    def submit(self, job: Generate) -> None:
        try:
            if job.media and self._sight is None:
                raise BadRequest(self._blind)
            self._waiting.append(Row(job, self._words, self.info.num_ctx, self.info.num_vocab))
        except OllmlxError as error:
            self._events.append(Failed(job.id, str(error), error.status))

    def embed(self, job: Embed) -> None:
        try:
            self._embedder.add(job)
        except OllmlxError as error:
            self._events.append(Failed(job.id, str(error), error.status))

    def cancel(self, job_id: int) -> None:
        self._embedder.cancel(job_id)
        self._events = [event for event in self._events if event.id != job_id]
        self._waiting = deque(row for row in self._waiting if row.job.id != job_id)
        for uid in [uid for uid, row in self._live.items() if row.job.id == job_id]:
            self._leave(uid)

    def step(self) -> list[Delta | Embedded | Failed]:
        events, self._events = self._events, []
        events += self._embedder.step()
        self._admit()
        if self._live:
            events += self._advance()
        return events

    @property
    def busy(self) -> bool:
        return bool(self._events or self._waiting or self._live or self._embedder.busy)

    def rest(self) -> None:
        if self.info.can_generate:
            self._words.begin_grammars()

    def close(self) -> None:
        self._generator.close()
        self._waiting.clear()
        self._live.clear()
        self._prefixes.clear()
        del self._generator, self._embedder, self._model, self._sight
        device.let_go()

    def _describe(self, num_ctx: int, num_vocab: int, caches: int) -> ModelInfo:
        size = caches + sum(a.nbytes for _, a in tree_flatten(self._model.parameters()))
        return ModelInfo(
            num_ctx=num_ctx,
            num_vocab=num_vocab,
            size=size,
            size_vram=0 if device.on_cpu() else size,
            bos=self._words.bos,
            eos=self._words.eos,
            adds_bos=self._words.adds_bos,
            ranking=RANKING if self._judge else None,
        )

    def _new_generator(self) -> BatchGenerator:
        generator = BatchGenerator(
            Seated(self._model, self._chooser),
            sampler=self._chooser,
            stop_tokens=[[token] for token in sorted(self._words.ends)],
            completion_batch_size=self._options.num_parallel,
            prefill_batch_size=1,
            prefill_step_size=max(_IDLE_CHUNK, self._options.num_batch),
            stream=mx.default_stream(mx.default_device()),
        )
        device.unwire()
        return generator

    def _admit(self) -> None:
        """Let waiting jobs in, one prompt at a time, so that each finds what others have read.

        One whose picture is not encoded yet lets those behind it pass.
        """
        looked = False
        for row in tuple(self._waiting):
            reading = not all(row.decoding for row in self._live.values())
            if reading or len(self._live) >= self._options.num_parallel:
                return
            row.start()
            self._share(row.prompt)
            if medium := self._unseen(row):
                looked = looked or self._look(row, medium)
            else:
                self._waiting.remove(row)
                row.cached = self._enter(row)

    def _unseen(self, row: Row) -> Medium | None:
        """The next picture that is to be read and not encoded yet."""
        read = media.without_cut(row.prompt, self._prefixes.reach(row.prompt))
        unread = set(media.beginnings(row.prompt[read:])) - row.pieces.keys()
        return next((m for m in row.job.media if unread.intersection(m.tokens)), None)

    def _look(self, row: Row, medium: Medium) -> bool:
        """Go on encoding a picture, for a moment, so that running answers go on meanwhile."""
        assert self._sight is not None, "`submit` refuses pictures"
        try:
            row.pieces |= self._sight.encode(medium, _LOOK_SECONDS) or {}
        except (*REFUSALS, OllmlxError) as error:
            self._waiting.remove(row)
            self._events.append(Failed(row.job.id, f"failed to encode the image: {error}"))
        return True

    def _share(self, prompt: list[int]) -> None:
        """Keep what a running answer has read of the same prompt, where that is more than is kept.

        Callers who ask at once, with one long system prompt, do not wait for each other to end.
        """
        read = {uid: common(row.prompt, prompt) for uid, row in self._live.items()}
        uid = max(read, key=lambda uid: read[uid], default=None)
        if uid is None or not self._cuttable:
            return
        if read[uid] >= self._prefixes.reach(prompt) + _WORTH_COPYING:
            cache, tokens = self._generator.extract_cache([uid])[uid]
            self._keep(self._live[uid], tokens, cache)

    def _enter(self, row: Row) -> int:
        """Put a row into the batch; how many tokens of its prompt need not be read."""
        cache, reused = self._prefixes.find(row.prompt)
        prompt = row.prompt
        if self._sight is not None:
            if cache is not None:
                self._sight.begin(cache, prompt, reused)
            prompt, row.pictures = self._sight.enter(prompt, row.pieces)
        row.boundary = 0 if self._cuttable else max(0, len(row.prompt) - _TAIL)
        layers = make_prompt_cache(self._model) if cache is None else cache
        cuts = [reused, row.boundary, None] if row.boundary > reused else [reused, None]
        (uid,) = self._generator.insert_segments(
            [[prompt[a:b] for a, b in itertools.pairwise(cuts)]],
            max_tokens=[row.room],
            caches=[[*layers, self._chooser.seat(row.job.id, row.way)]],
            all_tokens=[prompt[:reused]],
            logits_processors=[row.processors],
        )
        self._live[uid] = row
        return reused

    def _advance(self) -> list[Delta | Failed]:
        decoding = any(row.decoding for row in self._live.values())
        chunk = self._options.num_batch
        if self._sight is not None:
            reading = (row for row in self._live.values() if not row.decoding)
            self._sight.show([picture for row in reading for picture in row.pictures])
        self._generator.prefill_step_size = chunk if decoding else max(_IDLE_CHUNK, chunk)
        try:
            read, answers = self._generator.next()
        except REFUSALS as error:
            return self._start_over(error)
        for progress in read:
            self._note(progress)
        return [*self._failures(), *(self._take(a) for a in answers if a.uid in self._live)]

    def _note(self, progress: Any) -> None:
        """A piece of a prompt was read."""
        row = self._live[progress.uid]
        row.decoding = progress.end_of_prompt
        if row.boundary and progress.end_of_segment and not row.decoding:
            cache, tokens = self._generator.extract_cache([progress.uid])[progress.uid]
            if len(tokens) == row.boundary:
                self._keep(row, tokens, cache)

    def _failures(self) -> list[Failed]:
        failed = [(uid, row.failure) for uid, row in self._live.items() if row.failure]
        for uid, _ in failed:
            self._leave(uid)
        return [failure for _, failure in failed]

    def _take(self, answer: Any) -> Delta:
        row = self._live[answer.uid]
        delta = row.take(answer.token, answer.finish_reason)
        if answer.finish_reason:  # the batch has let go of it already
            del self._live[answer.uid]
            if delta.finish:
                self._keep(row, answer.all_tokens, answer.prompt_cache)
            else:
                row.shift()
                self._enter(row)
        elif delta.finish:
            self._leave(answer.uid)
        return delta

    def _leave(self, uid: int) -> None:
        """Take a row out of the batch, wherever it is, and keep what it has read."""
        row = self._live.pop(uid)
        left = self._generator.remove([uid], return_prompt_caches=True)
        if uid in left and not row.failure:
            cache, tokens = left[uid]
            self._keep(row, tokens, cache)

    def _keep(self, row: Row, tokens: Sequence[int], cache: Cache) -> None:
        """Without its seat, by the prompt's own tokens: the batch has numbers for pictures."""
        if tokens:
            own = row.prompt[: len(tokens)]
            self._prefixes.put([*own, *tokens[len(own) :]], cache[:-1])

    def _start_over(self, error: BaseException) -> list[Delta | Failed]:
        """After the batch itself failed nothing in it can be trusted."""
        reason = f"MLX failed: {explained(str(error))}"
        failed = [Failed(row.job.id, reason) for row in self._live.values()]
        self._live.clear()
        self._prefixes.clear()
        self._generator.close()
        self._generator = self._new_generator()
        mx.clear_cache()
        return [*failed]


def _blindness(folder: Path, config: dict[str, Any]) -> str:
    """Why the model can be shown no pictures; empty where it can."""
    if "vision_config" not in config:
        return media.NO_MEDIA
    reason = "this model does not support image input"
    if not sight.known(config):
        architecture = config["model_type"]
        reason += f" here: MLX models of the architecture {architecture} read text only"
        return f"{reason}, so use a GGUF of it with its projector"
    if not has_eyes(folder):
        return f"{reason}: who converted it left out what it saw through"
    if find_spec("mlx_vlm") is None:
        return "to see images, MLX models need mlx-vlm: pip install 'ollmlx[vision]'"
    return ""


def _reading(
    folder: Path, config: dict[str, Any], options: LoadOptions, report: Report
) -> nn.Module:
    """The model that reads text, which mlx-lm has of some of those that see."""
    try:
        return load_weights(folder, config, options.adapters, report)
    except LoadFailed as error:
        if sight.known(config):
            raise LoadFailed(f"{error} ({_blindness(folder, config)})") from error
        raise


def _seeing(folder: Path, config: dict[str, Any], options: LoadOptions, report: Report) -> "Seeing":
    """The model that mlx-vlm has, with its eyes."""
    from ollmlx.engine.mlx.seeing import Seeing, lazy_model

    return Seeing(folder, load_weights(folder, config, options.adapters, report, lazy_model))


def _try_out(model: nn.Module, config: dict[str, Any]) -> tuple[int, Cache]:
    """Read one token: the vocabulary's size, and the cache after it.

    Raises `LoadFailed` where the model does not run, or cannot run in a batch.
    """
    try:
        cache = make_prompt_cache(model)
        logits = model(mx.array([[0]]), cache=cache)
        mx.eval(logits)
    except REFUSALS as error:
        raise LoadFailed(f"the model does not run: {error}{amiss(config)}") from error
    if unbatched := [type(layer).__name__ for layer in cache if not hasattr(layer, "merge")]:
        raise LoadFailed(f"this model's {unbatched[0]} does not work with mlx-lm's batches")
    return int(logits.shape[-1]), cache


def _stays_cuttable(layer: Any, num_ctx: int) -> bool:
    """Whether tokens can be taken off its end, however full the context is."""
    return bool(layer.is_trimmable()) and getattr(layer, "max_size", num_ctx) >= num_ctx


def _grown(layer: Any, num_ctx: int) -> int:
    """Bytes of a layer's cache at a full window; it grows by `step` tokens, up to `max_size`."""
    if isinstance(parts := getattr(layer, "caches", None), (list, tuple)):
        return sum(_grown(part, num_ctx) for part in parts)
    tokens = min(num_ctx, getattr(layer, "max_size", num_ctx))
    return int(layer.nbytes) * -(-tokens // layer.step if hasattr(layer, "step") else -1)
