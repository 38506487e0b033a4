"""A GGUF's weights and vocabulary.  Knows tokens and their bytes, nothing of caches or jobs."""

import ctypes
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, wait
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as llama
from llguidance import LLTokenizer
from llguidance.llamacpp import lltokenizer_from_vocab

from ollmlx.engine.backend import Report
from ollmlx.engine.grammar import begin
from ollmlx.engine.jobs import LoadOptions
from ollmlx.engine.llama.log import log
from ollmlx.engine.llama.published import senses
from ollmlx.engine.llama.published.layouts import Content, View, broken
from ollmlx.engine.llama.published.text import view as text_view
from ollmlx.engine.llama.stream import Stream
from ollmlx.errors import BadRequest, LoadFailed

_PIECE_BYTES = 64
_ONE_FILE = (
    " (if this is a model that sees with what is in the same file, llama.cpp does not know its"
    " kind: use a GGUF from Hugging Face, hf.co/organisation/repository)"
)


class Model:
    """Raises `LoadFailed` with Ollama's text and llama.cpp's reason."""

    def __init__(self, path: str, options: LoadOptions, report: Report) -> None:
        os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # an abort would start gdb
        log().clear()
        llama.llama_backend_init()
        self.path = path
        self._grammars: Future[LLTokenizer] | None = None
        if not Path(path).is_file():
            raise LoadFailed(f"unable to load model: {path}: no such file")
        view = text_view(path)
        self.projector = path if view and senses.inside(view.file.header) else ""
        """What it sees with, where that is in the same file; else empty."""
        self.handle = _load(path, view, options, report)
        self.vocab = llama.llama_model_get_vocab(self.handle)
        self.num_vocab: int = llama.llama_vocab_n_tokens(self.vocab)
        self.adapters = [self._adapter(adapter) for adapter in options.adapters]
        every = range(self.num_vocab)
        self.end_tokens = frozenset(t for t in every if llama.llama_vocab_is_eog(self.vocab, t))
        self._pieces: list[bytes | None] = [None] * self.num_vocab
        self._buffer = ctypes.create_string_buffer(_PIECE_BYTES)

    def close(self) -> None:
        """Free the weights, and with them the adapters."""
        if self._grammars:
            wait([self._grammars])  # it reads the vocabulary
        if self.handle:
            llama.llama_model_free(self.handle)
            self.handle = None

    # -- what the file says ----------------------------------------------------------------------

    def metadata(self, key: str) -> str:
        """A header value as text, empty where there is none; `{arch}` is filled in."""
        if "{arch}" in key:
            key = key.format(arch=self.metadata("general.architecture"))
        buffer = ctypes.create_string_buffer(256)
        size = llama.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if size >= 0 else ""

    @cached_property
    def pooling(self) -> int:
        """How an embedding model pools (llama.cpp's number), 0 for a model not made to embed."""
        return int(self.metadata("{arch}.pooling_type") or llama.LLAMA_POOLING_TYPE_NONE)

    @cached_property
    def causal(self) -> bool:
        encoder = llama.llama_model_has_encoder(self.handle)
        return not encoder and self.metadata("{arch}.attention.causal") != "false"

    @cached_property
    def recurrent(self) -> bool:
        """Whether its state, or a part of it, cannot be cut back to an earlier token."""
        return bool(
            llama.llama_model_is_recurrent(self.handle) or llama.llama_model_is_hybrid(self.handle)
        )

    # -- text and tokens -------------------------------------------------------------------------

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Control tokens written out in `text` are read as such; `special` adds begin and end."""
        data = text.encode()
        tokens = np.empty(len(data) + 8, np.int32)
        for _ in range(2):
            pointer = tokens.ctypes.data_as(ctypes.POINTER(llama.llama_token))
            count: int = llama.llama_tokenize(
                self.vocab, data, len(data), pointer, len(tokens), special, True
            )
            if count >= 0:
                return list(map(int, tokens[:count]))
            tokens = np.empty(-count, np.int32)
        raise BadRequest("the text is too long to be tokenized")

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Pieces joined: llama_detokenize would tidy spaces away.  Raises `BadRequest`."""
        self.check(tokens)
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")

    def check(self, tokens: Sequence[int]) -> None:
        """Raises `BadRequest` for an id that is no token: llama.cpp would abort on some."""
        if tokens and not 0 <= min(tokens) <= max(tokens) < self.num_vocab:
            raise BadRequest(f"token ids must be from 0 to {self.num_vocab - 1}")

    def piece(self, token: int) -> bytes:
        """A token's bytes, control tokens spelt out as Ollama does."""
        piece = self._pieces[token]
        if piece is None:
            piece = self._pieces[token] = self._read_piece(token)
        return piece

    def text(self, token: int) -> str:
        """A token's text, empty for no token (-1)."""
        return self.piece(token).decode("utf-8", "replace") if token >= 0 else ""

    def begin_grammars(self) -> Future[LLTokenizer]:
        self._grammars = self._grammars or begin(self._read_grammars)
        return self._grammars

    @property
    def grammar_tokenizer(self) -> LLTokenizer:
        """This vocabulary as llguidance wants it."""
        return self.begin_grammars().result()

    def _read_grammars(self) -> LLTokenizer:
        with warnings.catch_warnings():
            # llguidance 1.9 calls llama_token_get_attr, which llama-cpp-python 0.3.36 deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            return lltokenizer_from_vocab(self.vocab, eos_token=sorted(self.end_tokens) or None)

    def _read_piece(self, token: int) -> bytes:
        size = llama.llama_token_to_piece(
            self.vocab, token, self._buffer, len(self._buffer), 0, True
        )
        if size < 0:  # longer than the buffer: runs of spaces, Indic words
            self._buffer = ctypes.create_string_buffer(-size)
            size = llama.llama_token_to_piece(self.vocab, token, self._buffer, -size, 0, True)
        return self._buffer.raw[:size]

    def _adapter(self, path: str) -> Any:
        adapter = llama.llama_adapter_lora_init(self.handle, path.encode())
        if not adapter:
            reason = log().errors()
            self.close()
            raise LoadFailed(f"failed to load the adapter: {path}: {reason}")
        return adapter


def _load(path: str, view: View | None, options: LoadOptions, report: Report) -> Any:
    params = _params(options)
    progress = _progress(report)
    params.progress_callback = progress
    if view is None:
        handle = llama.llama_model_load_from_file(path.encode(), params)
    else:
        handle = _load_view(view, params)
    if not handle:
        reason = log().errors()
        if "wrong number of tensors" in reason:
            reason += _ONE_FILE
        raise LoadFailed(f"unable to load model: {path}: {reason}")
    report(1.0)
    return handle


def _load_view(view: View, params: Any) -> Any:
    """Weights that are not where llama.cpp looks for them cannot be mapped: they are read."""
    params.load_mode = llama.LLAMA_LOAD_MODE_NONE
    params.lazy_mode = llama.LLAMA_LAZY_MODE_OFF
    stream = Stream(Content(view))
    with stream.opened() as file:
        handle = llama.llama_model_load_from_file_ptr(file, params)
    if stream.failure:
        raise broken(view, stream.failure) from stream.failure
    return handle


def _params(options: LoadOptions) -> Any:
    params = llama.llama_model_default_params()
    params.n_gpu_layers = options.num_gpu
    # GCC before 11.5, 12.4 and 13.3 (bug 114098) miscompiles llama.cpp's AMX set-up, and the first
    # prompt is a segmentation fault (ggml-org/llama.cpp#20824).  Nothing tells which compiler it
    # was, so the buffers that AMX needs stay off in builds that have it.  For llama.cpp of 2026.
    params.use_extra_bufts = b"AMX_INT8 = 1" not in llama.llama_print_system_info()
    if options.main_gpu is not None:
        # llama.cpp reads main_gpu only where the model is not split.
        params.main_gpu = options.main_gpu
        params.split_mode = llama.LLAMA_SPLIT_MODE_NONE
    if options.use_mmap is not None:
        params.load_mode = (
            llama.LLAMA_LOAD_MODE_MMAP if options.use_mmap else llama.LLAMA_LOAD_MODE_NONE
        )
    return params


def _progress(report: Report) -> Any:
    """llama.cpp's progress callback; it asks some hundred times, and each percent is told once."""
    told = 0.0

    def progress(fraction: float, _: object) -> bool:
        nonlocal told
        if told + 0.01 <= fraction < 1:
            told = fraction
            report(fraction)
        return True

    return llama.llama_progress_callback(progress)
