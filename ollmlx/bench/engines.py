"""Engines in this very process, without pipe or HTTP: what a server is held against.

`InProcess` is our own backend, stepped directly.  `BareMlx` and `BareLlama` are the libraries by
themselves, with nothing of ours around them: no stop texts, no prefix cache, no cancelling.
"""

import copy
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, Protocol

from ollmlx.bench.contest import Contestant
from ollmlx.bench.timeline import AnswerFailed, Timeline
from ollmlx.settings import from_environment


class BareEngine(Contestant, Protocol):
    def close(self) -> None: ...


def in_process(model: str, slots: int, threads: int) -> AbstractContextManager["InProcess"]:
    """Our backend for an installed model.  Raises what loading it raises."""
    return closing(InProcess(*_locate(model), slots, threads))


def bare(model: str, slots: int, threads: int) -> AbstractContextManager[BareEngine]:
    """The library itself for an installed model.  Raises `NotFound`."""
    kind, path = _locate(model)
    if kind == "mlx":
        return closing(BareMlx(path, slots))
    return closing(BareLlama(path, slots, threads))


def _locate(model: str) -> tuple[str, str]:
    """Kind and path of an installed model, found as a server started here finds it."""
    from ollmlx.store.library import Library

    found = Library(from_environment()).find(model)
    return found.format, found.path


def _window() -> int:
    """Tokens of context as a server started here gives them."""
    from ollmlx.engine import fit

    return from_environment().context_length or fit.default_context("gguf")


class _Stopwatch:
    """Stamps of every stream; tokens here are stamps."""

    def __init__(self, streams: int) -> None:
        self._started = time.perf_counter()
        self._stamps: list[list[float]] = [[] for _ in range(streams)]

    def tick(self, stream: int) -> None:
        self._stamps[stream].append(time.perf_counter())

    def timelines(self, prompts: Sequence[Sequence[int]]) -> list[Timeline]:
        return [
            Timeline(self._started, tuple(stamps), len(stamps), len(prompt))
            for stamps, prompt in zip(self._stamps, prompts, strict=True)
        ]


class InProcess:
    """A backend as the worker steps it."""

    def __init__(self, kind: str, path: str, slots: int, threads: int) -> None:
        from ollmlx.engine.backend import load
        from ollmlx.engine.jobs import LoadOptions

        self.name = "in process"
        options = LoadOptions(num_ctx=_window(), num_parallel=slots, num_thread=threads)
        self._backend = load(kind, path, options, lambda fraction: None)
        self._temperature, self._grammar = 0.0, ""

    def under(self, name: str, format: Any, temperature: float) -> "InProcess":
        """The same backend, asked for answers of a format.  Raises as `from_format` does."""
        from ollmlx.engine.formats import from_format

        other = copy.copy(self)
        other.name, other._temperature, other._grammar = name, temperature, from_format(format)
        return other

    def cpu_seconds(self) -> float:
        return time.process_time()

    def close(self) -> None:
        self._backend.close()

    def run(self, prompts: Sequence[str], tokens: int) -> list[Timeline]:
        from ollmlx.engine.jobs import Delta, Failed, Generate, Sampling

        watch, sampling = _Stopwatch(len(prompts)), Sampling(temperature=self._temperature)
        read = [self._backend.tokenize(prompt, True) for prompt in prompts]
        for stream, prompt in enumerate(read):
            job = Generate(stream, prompt, tokens, sampling, grammar=self._grammar)
            self._backend.submit(job)
        while self._backend.busy:
            for event in self._backend.step():
                if isinstance(event, Failed):
                    raise AnswerFailed(event.reason)
                if isinstance(event, Delta) and event.tokens:
                    watch.tick(event.id)
        return watch.timelines(read)


class BareMlx:
    """mlx-lm's `BatchGenerator` with its own defaults, in batches of `slots`."""

    def __init__(self, path: str, slots: int) -> None:
        import mlx.core as mx
        from mlx_lm import load

        self.name = "bare mlx-lm"
        self._model, self._tokenizer = load(path)[:2]
        if mx.default_device() == mx.cpu:
            self._model.set_dtype(mx.float32)  # as our backend: half precision is emulated there
        self._slots = slots

    def cpu_seconds(self) -> float:
        return time.process_time()

    def close(self) -> None:
        del self._model

    def run(self, prompts: Sequence[str], tokens: int) -> list[Timeline]:
        watch = _Stopwatch(len(prompts))
        read = [list(self._tokenizer.encode(prompt)) for prompt in prompts]
        generator = self._generator(tokens)
        streams = {uid: stream for stream, uid in enumerate(generator.insert(read))}
        while streams:
            _, answers = generator.next()
            for answer in answers:
                watch.tick(streams[answer.uid])
                if answer.finish_reason:
                    del streams[answer.uid]
        generator.close()
        return watch.timelines(read)

    def _generator(self, tokens: int) -> Any:
        import mlx.core as mx
        from mlx_lm.generate import BatchGenerator

        return BatchGenerator(
            self._model,
            max_tokens=tokens,
            stop_tokens=[[token] for token in self._tokenizer.eos_token_ids],
            completion_batch_size=self._slots,
            stream=mx.default_stream(mx.default_device()),
        )


class BareLlama:
    """llama.cpp's batch API in the plainest loop: read all prompts, then a token of each a step."""

    _BATCH = 512

    def __init__(self, path: str, slots: int, threads: int) -> None:
        from llama_cpp import llama_cpp as llama

        from ollmlx.engine.llama.log import log

        self.name = "bare llama.cpp"
        self._llama: Any = llama
        log()  # llama.cpp has one ear for what it says, and it must not be the terminal
        self._model = self._load(path)
        self._vocab = llama.llama_model_get_vocab(self._model)
        self._context = self._open(slots, threads)
        self._greedy = llama.llama_sampler_init_greedy()
        self._batch = llama.llama_batch_init(self._BATCH, 0, 1)

    def cpu_seconds(self) -> float:
        return time.process_time()

    def close(self) -> None:
        llama = self._llama
        llama.llama_batch_free(self._batch)
        llama.llama_sampler_free(self._greedy)
        llama.llama_free(self._context)
        llama.llama_model_free(self._model)

    def run(self, prompts: Sequence[str], tokens: int) -> list[Timeline]:
        llama = self._llama
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        watch = _Stopwatch(len(prompts))
        read = [self._tokenize(prompt) for prompt in prompts]
        newest: dict[int, int] = {}
        for stream, prompt in enumerate(read):
            newest[stream] = self._read(stream, prompt)
            watch.tick(stream)
        for written in range(1, tokens):
            for row, stream in enumerate(newest):
                self._put(row, newest[stream], len(read[stream]) + written - 1, stream, True)
            self._decode(len(newest))
            newest = {stream: self._choose(row) for row, stream in enumerate(newest)}
            for stream in newest:
                watch.tick(stream)
            newest = {
                stream: token
                for stream, token in newest.items()
                if not llama.llama_vocab_is_eog(self._vocab, token)
            }
            if not newest:
                break
        return watch.timelines(read)

    def _read(self, stream: int, prompt: list[int]) -> int:
        """Decode a prompt in pieces; the token that follows it."""
        for start in range(0, len(prompt), self._BATCH):
            piece = prompt[start : start + self._BATCH]
            for row, token in enumerate(piece):
                last = start + row == len(prompt) - 1
                self._put(row, token, start + row, stream, last)
            self._decode(len(piece))
        return self._choose((len(prompt) - 1) % self._BATCH)

    def _put(self, row: int, token: int, position: int, stream: int, wanted: bool) -> None:
        batch = self._batch
        batch.token[row], batch.pos[row], batch.logits[row] = token, position, wanted
        batch.n_seq_id[row] = 1
        batch.seq_id[row][0] = stream

    def _decode(self, rows: int) -> None:
        self._batch.n_tokens = rows
        if status := self._llama.llama_decode(self._context, self._batch):
            raise AnswerFailed(f"llama_decode failed ({status})")

    def _choose(self, row: int) -> int:
        token: int = self._llama.llama_sampler_sample(self._greedy, self._context, row)
        return token

    def _tokenize(self, text: str) -> list[int]:
        data = text.encode()
        tokens = (self._llama.llama_token * (len(data) + 8))()
        count = self._llama.llama_tokenize(
            self._vocab, data, len(data), tokens, len(tokens), True, True
        )
        return list(tokens[:count])

    def _load(self, path: str) -> Any:
        params = self._llama.llama_model_default_params()
        # As our backend: see `engine.llama_model` for the compilers that miscompile AMX.
        params.use_extra_bufts = b"AMX_INT8 = 1" not in self._llama.llama_print_system_info()
        return _made(self._llama.llama_model_load_from_file(path.encode(), params), path)

    def _open(self, slots: int, threads: int) -> Any:
        params = self._llama.llama_context_default_params()
        params.n_ctx = _window() * slots
        params.n_batch = params.n_ubatch = self._BATCH
        params.n_seq_max = slots
        params.kv_unified = True
        if threads:
            params.n_threads = params.n_threads_batch = threads
        return _made(self._llama.llama_init_from_model(self._model, params), "a context")


def _made(handle: Any, what: str) -> Any:
    if not handle:
        raise AnswerFailed(f"llama.cpp could not load {what}")
    return handle
