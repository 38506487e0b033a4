"""The logits of a GGUF in llama.cpp and of a folder in MLX."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TOKENS = [5, 70, 300, 12, 12, 99, 205, 31, 7, 150, 42, 8]


def logits_of_llama(path: Path, tokens: list[int]) -> NDArray[np.float32]:
    """(tokens, vocabulary), with a cache of float32."""
    import llama_cpp

    model = llama_cpp.Llama(
        str(path), n_ctx=64, logits_all=True, verbose=False, type_k=0, type_v=0, n_threads=1
    )
    model.eval(tokens)
    scores: NDArray[np.float32] = np.array(model.scores[: len(tokens)])
    model.close()
    return scores


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
