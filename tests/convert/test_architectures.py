"""Every architecture, in small: MLX and llama.cpp give the same logits for the same file."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ollmlx.convert import convert
from ollmlx.convert.architectures import ARCHITECTURES
from ollmlx.store.gguf import Gguf
from tests.convert.tiny import Tiny, write_tiny
from tests.toy import ToyModels

TOKENS = [5, 70, 300, 12, 12, 99, 205, 31, 7, 150, 42, 8]

LAYER_NORM = {"attention.layer_norm_rms_epsilon": None, "attention.layer_norm_epsilon": 1e-5}
EXPERTS = {"expert_count": 4, "expert_used_count": 2}
WIDE_HEADS = {"attention.key_length": 32, "attention.value_length": 32}
GEMMA = WIDE_HEADS | {"rope.dimension_count": 32}
LLAMA3_DIVISORS = np.array([1, 1, 1, 1, 1, 1.5, 4, 8], np.float32)

TINIES = [
    Tiny("llama", {"rope.dimension_count": 16}),
    Tiny("qwen2", {}),
    Tiny("qwen3", WIDE_HEADS),
    Tiny("gemma", GEMMA),
    Tiny("gemma2", GEMMA | {"attention.sliding_window": 512}),
    Tiny("gemma3", GEMMA | {"attention.sliding_window": 4, "block_count": 6}),
    Tiny("phi3", {"rope.dimension_count": 16, "rope.scaling.original_context_length": 512}),
    Tiny("olmo2", {}),
    Tiny("starcoder2", LAYER_NORM),
    Tiny("stablelm", LAYER_NORM | {"rope.dimension_count": 4, "use_parallel_residual": False}),
    Tiny("command-r", LAYER_NORM | {"logit_scale": 0.25}),
    Tiny("seed_oss", WIDE_HEADS, ("blk.0.attn_q.bias",)),
    Tiny("ernie4_5", {}),
    Tiny("hunyuan-dense", {}),
    Tiny("smollm3", {"rope.dimension_count": 16}),
    Tiny("nemotron", LAYER_NORM | {"rope.dimension_count": 8}),
    Tiny("glm4", {"rope.dimension_count": 8}, ("blk.0.attn_q.bias",)),
    Tiny("exaone4", {}),
    Tiny("olmoe", EXPERTS),
]


def logits_of_llama(path: Path, tokens: list[int]) -> NDArray[np.float32]:
    import llama_cpp

    model = llama_cpp.Llama(
        str(path),
        n_ctx=64,
        logits_all=True,
        verbose=False,
        type_k=0,
        type_v=0,
        n_threads=1,
    )
    model.eval(tokens)
    scores: NDArray[np.float32] = np.array(model.scores[: len(tokens)])
    model.close()
    return scores


def logits_of_mlx(folder: Path, tokens: list[int]) -> NDArray[np.float32]:
    import mlx.core as mx
    from mlx_lm.utils import load_model

    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array([tokens]))[0].astype(mx.float32))


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("tiny", TINIES, ids=lambda tiny: tiny.arch)
def test_logits_are_llama_cpps(tiny: Tiny, toy: ToyModels, tmp_path: Path) -> None:
    vocabulary = {k: v for k, v in Gguf(toy.gguf).meta.items() if k.startswith("tokenizer.")}
    write_tiny(tmp_path / "tiny.gguf", tiny, vocabulary)
    convert(tmp_path / "tiny.gguf", tmp_path / "mlx", dtype="float32")
    ours = logits_of_mlx(tmp_path / "mlx", TOKENS)
    theirs = logits_of_llama(tmp_path / "tiny.gguf", TOKENS)
    assert difference(ours, theirs) < 1e-4
