"""The logits of a GGUF in llama.cpp and of a folder in MLX."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ollmlx.store.places import embedded

TOKENS = [5, 70, 300, 12, 12, 99, 205, 31, 7, 150, 42, 8]


def logits_of_llama(path: Path, tokens: list[int]) -> NDArray[np.float32]:
    """(tokens, vocabulary), with a cache of float32."""
    import llama_cpp as llama

    loading = llama.llama_model_default_params()
    # Compilers that miscompile llama.cpp's AMX set-up: see `ollmlx.engine.llama.model`.
    loading.use_extra_bufts = False
    model = llama.llama_model_load_from_file(str(path).encode(), loading)
    assert model, "llama.cpp refuses the file"
    try:
        return logits_of_handle(model, tokens)
    finally:
        llama.llama_model_free(model)


def logits_of_handle(model: Any, tokens: list[int]) -> NDArray[np.float32]:
    """(tokens, vocabulary) of a model that is loaded, with a cache of float32."""
    import llama_cpp as llama

    running = llama.llama_context_default_params()
    running.n_ctx, running.n_threads, running.n_threads_batch = 64, 1, 1
    running.type_k = running.type_v = llama.GGML_TYPE_F32
    running.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama.llama_init_from_model(model, running)
    try:
        return _decode(llama, context, tokens, llama.llama_model_get_vocab(model))
    finally:
        llama.llama_free(context)


def _decode(llama: Any, context: Any, tokens: list[int], vocabulary: Any) -> NDArray[np.float32]:
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for place, token in enumerate(tokens):
        batch.token[place], batch.pos[place], batch.logits[place] = token, place, True
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
    assert llama.llama_decode(context, batch) == 0
    llama.llama_batch_free(batch)
    shape = (len(tokens), llama.llama_vocab_n_tokens(vocabulary))
    return np.ctypeslib.as_array(llama.llama_get_logits(context), shape=shape).copy()


def logits_of_mlx(folder: Path, tokens: list[int]) -> NDArray[np.float32]:
    """(tokens, vocabulary), computed in float32."""
    import mlx.core as mx
    from mlx_lm.utils import load_model

    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array([tokens]))[0])


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The largest, relative to the largest logit."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def smollm2() -> Path:
    """The embedded model's file."""
    found = embedded.path()
    assert found is not None, "pip install 'ollmlx[demo]'"
    return found
