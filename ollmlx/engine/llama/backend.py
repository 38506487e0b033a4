"""A GGUF model through llama.cpp: one context in which every sequence is a row of the same batch.

On llama-cpp-python's low-level bindings only; its `Llama` class knows a single sequence.  What a
wrong call does is abort the process, so ids and lengths are checked here before they go down.
"""

from typing import Any

from llama_cpp import llama_cpp as llama
from msgspec import structs

from ollmlx.engine import media
from ollmlx.engine.backend import Report
from ollmlx.engine.jobs import Delta, Embed, Embedded, Failed, Generate, LoadOptions, ModelInfo
from ollmlx.engine.llama.cache import Cache
from ollmlx.engine.llama.context import Context
from ollmlx.engine.llama.embedder import Embedder
from ollmlx.engine.llama.log import log
from ollmlx.engine.llama.media import Media
from ollmlx.engine.llama.model import Model
from ollmlx.engine.llama.ranking import ranking
from ollmlx.engine.llama.scheduler import Scheduler
from ollmlx.engine.llama.threads import FreeCores, Pace, Threads, available_cores
from ollmlx.errors import BadRequest, LoadFailed, OllmlxError

_MOST_SEQUENCES = 255
_LARGEST_WHOLE = 2048
"""Tokens of an image that is decoded at once: more than Gemma 4's largest has."""


class LlamaCppBackend:
    def __init__(self, path: str, options: LoadOptions, report: Report) -> None:
        free = FreeCores()  # over the time of the load
        self._model = Model(path, options, report)
        self._options = options
        self._threads = Threads(available_cores(), options.num_thread, free)
        trained: int = llama.llama_model_n_ctx_train(self._model.handle)
        self._num_ctx = min(options.num_ctx, trained) if trained > 0 else options.num_ctx
        self._pace = Pace()
        self._context: Context | None = None
        self._scheduler: Scheduler | None = None
        self._embedder: Embedder | None = None
        self._media: Media | None = None
        self._failed: list[Failed] = []
        can_shift = False
        try:
            if self._generates():
                can_shift = self._open_scheduler()
            else:
                self._embedder = self._open_embedder()
        except LoadFailed:
            self.close()
            raise
        self.info = self._describe(can_shift)
        log().clear()  # what a later failure quotes should be its own

    def tokenize(self, text: str, special: bool) -> list[int]:
        return self._model.tokenize(text, special)

    def detokenize(self, tokens: list[int]) -> str:
        return self._model.detokenize(tokens)

    def look(self, files: list[bytes]) -> list[list[int]]:
        if not self._media:
            raise BadRequest(media.NO_MEDIA)
        return list(map(self._media.look, files))

    def submit(self, job: Generate) -> None:
        if refusal := self._refusal(job):
            self._failed.append(Failed(job.id, str(refusal), refusal.status))
        elif self._scheduler:
            # A shift would cut images in two; llama-server does not shift with them either.
            shift = job.shift and not job.media
            self._scheduler.submit(structs.replace(job, shift=shift))

    def embed(self, job: Embed) -> None:
        try:
            for tokens in job.inputs:
                self._model.check(tokens)
                if len(tokens) > self._num_ctx:
                    raise BadRequest("the input length exceeds the context length")
            self._embedder = self._embedder or self._open_embedder()
        except OllmlxError as error:
            self._failed.append(Failed(job.id, str(error), error.status))
        else:
            self._embedder.submit(job)

    def cancel(self, job_id: int) -> None:
        if self._scheduler:
            self._scheduler.cancel(job_id)
        if self._embedder:
            self._embedder.cancel(job_id)
        self._failed = [failed for failed in self._failed if failed.id != job_id]

    def step(self) -> list[Delta | Embedded | Failed]:
        events: list[Delta | Embedded | Failed] = [*self._failed]
        self._failed.clear()
        writing = self._scheduler is not None and self._scheduler.busy
        if self._scheduler and writing:
            events += self._scheduler.step()
        if self._embedder and self._embedder.busy:
            events += self._embedder.step(self._pace.chunk if writing else None)
        return events

    @property
    def busy(self) -> bool:
        parts = (self._scheduler, self._embedder)
        return bool(self._failed) or any(part.busy for part in parts if part)

    def rest(self) -> None:
        if self._scheduler:
            self._model.begin_grammars()

    def close(self) -> None:
        for part in (self._scheduler, self._embedder, self._media, self._context):
            if part:
                part.close()
        self._model.close()

    # -- loading ---------------------------------------------------------------------------------

    def _generates(self) -> bool:
        """Whether the model writes text; as in Ollama, one whose GGUF names a pooling embeds."""
        model = self._model
        encoder = llama.llama_model_has_encoder(model.handle)
        if llama.llama_model_is_diffusion(model.handle) or (
            encoder and llama.llama_model_has_decoder(model.handle)
        ):
            architecture = model.metadata("general.architecture")
            raise LoadFailed(
                f"unable to load model: {model.path}: {architecture!r} models do not write token "
                "by token"
            )
        return model.causal and not model.pooling

    def _open_scheduler(self) -> bool:
        """Returns whether answers may go on past a full window."""
        slots = min(self._options.num_parallel, _MOST_SEQUENCES)
        on_gpu = llama.llama_supports_gpu_offload() and self._options.num_gpu != 0
        in_order = not (on_gpu or self._model.recurrent)
        chunk = max(self._options.num_batch, slots, 1)
        if projector := self._options.projector or self._model.projector:
            self._media = Media(projector, self._model, self._options, self._threads.settled)
            if self._media.whole:
                chunk = max(chunk, _LARGEST_WHOLE)

        windows = self._num_ctx * slots
        cells = max(self._num_ctx, min(self._options.num_cells or windows, windows))

        def adjust(params: Any) -> None:
            params.n_ctx = cells
            params.n_batch = params.n_ubatch = chunk
            params.n_seq_max = params.n_outputs_max = slots + in_order
            params.n_threads = params.n_threads_batch = self._threads.settled
            params.swa_full = False

        context = self._context = Context(self._model, self._options, adjust)
        cache = Cache(self._model, context, slots, cells, self._pace, in_order)
        self._scheduler = Scheduler(
            self._model, context, cache, self._threads, self._num_ctx, self._media
        )
        return cache.can_shift

    def _open_embedder(self) -> Embedder:
        return Embedder(self._model, self._options, self._num_ctx, self._threads)

    def _describe(self, can_shift: bool) -> ModelInfo:
        model = self._model
        announced, on_gpu = log().buffers()
        weights: int = llama.llama_model_size(model.handle)
        projector = self._media.size if self._media else 0
        return ModelInfo(
            num_ctx=self._num_ctx,
            num_vocab=model.num_vocab,
            size=max(announced, weights) + projector,
            size_vram=on_gpu + (projector if on_gpu else 0),
            bos=model.text(llama.llama_vocab_bos(model.vocab)),
            eos=model.text(llama.llama_vocab_eos(model.vocab)),
            adds_bos=bool(llama.llama_vocab_get_add_bos(model.vocab)),
            can_generate=self._scheduler is not None,
            can_shift=can_shift,
            ranking=ranking(model),
        )

    def _refusal(self, job: Generate) -> BadRequest | None:
        if not self._scheduler:
            return BadRequest("this model embeds text and cannot generate")
        if not 0 < len(job.prompt) < self._num_ctx:
            return BadRequest(
                f"a prompt must have from 1 to {self._num_ctx - 1} tokens, not {len(job.prompt)}"
            )
        try:
            self._model.check(media.text(job.prompt))
        except BadRequest as error:
            return error
        given = {token for medium in job.media for token in medium.tokens}
        if not given.issuperset(media.beginnings(job.prompt)) or (job.media and not self._media):
            return BadRequest(media.NO_MEDIA)
        return None
