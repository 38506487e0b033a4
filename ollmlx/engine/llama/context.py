"""A llama.cpp context: the KV cache and compute buffers that turn batches into logits."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as llama
from numpy.typing import NDArray

from ollmlx.engine.jobs import LoadOptions
from ollmlx.engine.llama.batch import Batch, Vectors
from ollmlx.engine.llama.log import log
from ollmlx.engine.llama.model import Model
from ollmlx.errors import LoadFailed

_KV_TYPES = {
    "f32": llama.GGML_TYPE_F32,
    "f16": llama.GGML_TYPE_F16,
    "q8_0": llama.GGML_TYPE_Q8_0,
    "q4_0": llama.GGML_TYPE_Q4_0,
}
_FLASH = {
    None: llama.LLAMA_FLASH_ATTN_TYPE_AUTO,
    True: llama.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    False: llama.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


class Context:
    """Raises `LoadFailed` when there is no memory for it, or the options contradict each other."""

    def __init__(self, model: Model, options: LoadOptions, adjust: Callable[[Any], None]) -> None:
        """`adjust` sets sizes on the `llama_context_params` that `options` gave."""
        params = _params(options)
        adjust(params)
        self.handle = llama.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise LoadFailed(f"unable to load model: {model.path}: {log().errors()}")
        self.memory = llama.llama_get_memory(self.handle)
        self._row = ctypes.c_float * model.num_vocab
        if model.adapters:
            self._adapt(model.adapters)

    def decode(self, batch: Batch | Vectors, meanwhile: Callable[[], None] | None = None) -> int:
        """llama_decode's answer once the work is done: 0, 1 for no room in the cache, or worse.

        `meanwhile` runs once the work is given to the device: a GPU computes beside it.
        """
        llama.llama_set_causal_attn(self.handle, not batch.whole)
        status: int = llama.llama_decode(self.handle, batch.native)
        if meanwhile and not status:
            meanwhile()
        llama.llama_synchronize(self.handle)
        return status

    def logits(self, row: int) -> NDArray[np.float32]:
        """float32 [num_vocab] of a row whose output was asked for; valid until the next decode."""
        pointer = llama.llama_get_logits_ith(self.handle, row)
        # A fifth of the time of numpy's own way from a pointer to an array.
        memory = self._row.from_address(ctypes.addressof(pointer.contents))
        return np.ndarray((len(memory),), np.float32, memoryview(memory))

    def use_threads(self, count: int) -> None:
        llama.llama_set_n_threads(self.handle, count, count)

    def close(self) -> None:
        if self.handle:
            llama.llama_free(self.handle)
            self.handle = None

    def _adapt(self, adapters: list[Any]) -> None:
        pointers = (llama.llama_adapter_lora_p_ctypes * len(adapters))(*adapters)
        scales = (ctypes.c_float * len(adapters))(*[1.0] * len(adapters))
        if llama.llama_set_adapters_lora(self.handle, pointers, len(adapters), scales):
            self.close()
            raise LoadFailed(f"failed to apply the adapters: {log().errors()}")


def _params(options: LoadOptions) -> Any:
    params = llama.llama_context_default_params()
    params.no_perf = True
    params.kv_unified = True
    if options.num_gpu == 0:
        params.offload_kqv = params.op_offload = False
    kind = options.kv_cache_type
    if kind not in _KV_TYPES:
        raise LoadFailed(f"kv_cache_type must be one of {', '.join(_KV_TYPES)}, not {kind!r}")
    params.type_k = params.type_v = _KV_TYPES[kind]
    flash = options.flash_attention
    if kind.startswith("q"):
        if flash is False:
            raise LoadFailed(f"kv_cache_type {kind} needs flash attention, which is switched off")
        flash = True
    params.flash_attn_type = _FLASH[flash]
    return params
