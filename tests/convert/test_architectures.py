"""Every architecture, in small: MLX and llama.cpp give the same logits for the same file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ollmlx.convert import convert
from ollmlx.convert.architectures import ARCHITECTURES
from ollmlx.convert.decoder import llama3_divisors
from tests.convert.running import TOKENS, difference, logits_of_llama, logits_of_mlx
from tests.convert.tiny import Tiny, write_tiny

APPROXIMATE = {"gemma", "gemma2", "gemma3", "gemma4", "starcoder2"}
"""llama.cpp looks their activation, GELU, up in a table of float16."""

LAYER_NORM = {"attention.layer_norm_rms_epsilon": None, "attention.layer_norm_epsilon": 1e-5}
EXPERTS = {"expert_count": 4, "expert_used_count": 2}
SHARED = {"expert_feed_forward_length": 64, "expert_shared_feed_forward_length": 32}
WIDE_HEADS = {"attention.key_length": 32, "attention.value_length": 32}
GEMMA = WIDE_HEADS | {"rope.dimension_count": 32}
YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 128,
}
GRANITE = {
    "rope.dimension_count": 16,
    "logit_scale": 4.0,
    "attention.scale": 0.2,
    "embedding_scale": 3.0,
    "residual_scale": 0.5,
}
QWEN35 = WIDE_HEADS | {
    "rope.dimension_count": 16,
    "rope.dimension_sections": [3, 3, 2, 0],
    "full_attention_interval": 2,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 32,
    "ssm.group_count": 2,
    "ssm.time_step_rank": 4,
    "ssm.inner_size": 128,
}
GEMMA4 = {
    "attention.key_length": 32,
    "attention.value_length": 32,
    "attention.key_length_swa": 16,
    "attention.value_length_swa": 16,
    "rope.dimension_count": 32,
    "rope.dimension_count_swa": 16,
    "rope.freq_base_swa": 10000.0,
    "attention.sliding_window": 4,
    "attention.sliding_window_pattern": [True, True, True, False],
    "attention.shared_kv_layers": 0,
    "embedding_length_per_layer_input": 0,
    "final_logit_softcapping": 30.0,
}
GEMMA4_DIVISORS = np.array([1.0] * 4 + [1e30] * 12, np.float32)
LLAMA3 = llama3_divisors(2 * np.pi * 10000.0 ** (np.arange(8) / 8), 8.0, 8192).astype(np.float32)

TINIES = [
    Tiny("llama", {"rope.dimension_count": 16}),
    Tiny("qwen2", {}),
    Tiny("qwen3", WIDE_HEADS),
    Tiny("gemma", GEMMA),
    Tiny("gemma2", GEMMA | {"attention.sliding_window": 512}),
    Tiny("gemma3", GEMMA | {"attention.sliding_window": 4, "block_count": 6}),
    Tiny("phi3", {"rope.dimension_count": 16, "rope.scaling.original_context_length": 512}),
    Tiny("olmo2", {}, ("output.weight",)),
    Tiny("starcoder2", LAYER_NORM),
    Tiny(
        "stablelm",
        LAYER_NORM | {"rope.dimension_count": 4, "use_parallel_residual": False},
        ("output.weight",),
    ),
    Tiny("command-r", LAYER_NORM | {"logit_scale": 0.25}),
    Tiny("seed_oss", WIDE_HEADS, ("blk.0.attn_q.bias",)),
    Tiny("ernie4_5", {}),
    Tiny("hunyuan-dense", {}),
    Tiny("smollm3", {"rope.dimension_count": 16}),
    Tiny("nemotron", LAYER_NORM | {"rope.dimension_count": 8}, ("output.weight",)),
    Tiny("glm4", {"rope.dimension_count": 8}, ("blk.0.attn_q.bias",)),
    Tiny("exaone4", {}),
    Tiny("olmoe", EXPERTS | {"attention.head_count_kv": 4}, ("output.weight",)),
    Tiny("llama", {"rope.dimension_count": 16} | EXPERTS),
    Tiny(
        "llama",
        {"rope.dimension_count": 16, "context_length": 32768},
        extra={"rope_freqs.weight": LLAMA3},
    ),
    Tiny("qwen2", YARN),
    Tiny("qwen2moe", EXPERTS | SHARED, ("output.weight",)),
    Tiny("qwen3moe", WIDE_HEADS | EXPERTS | {"expert_feed_forward_length": 64}),
    Tiny("granite", GRANITE),
    Tiny("granitemoe", GRANITE | EXPERTS),
    Tiny(
        "gpt-oss",
        EXPERTS | {"expert_feed_forward_length": 64, "attention.sliding_window": 4},
        ("output.weight",),
    ),
    Tiny("lfm2", {"attention.head_count_kv": [0, 2, 0, 2], "shortconv.l_cache": 3}),
    Tiny("qwen35", QWEN35),
    Tiny("qwen35moe", QWEN35 | EXPERTS | SHARED),
    Tiny("gemma4", GEMMA4, extra={"rope_freqs.weight": GEMMA4_DIVISORS}),
    Tiny("cohere2", LAYER_NORM | {"logit_scale": 0.25, "attention.sliding_window": 4}),
]


@pytest.mark.parametrize("tiny", TINIES, ids=lambda tiny: tiny.arch)
def test_logits_are_llama_cpps(tiny: Tiny, vocabulary: dict[str, Any], tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", tiny, vocabulary)
    convert(tmp_path / "tiny.gguf", tmp_path / "mlx", dtype="float32")
    ours = logits_of_mlx(tmp_path / "mlx", TOKENS)
    theirs = logits_of_llama(tmp_path / "tiny.gguf", TOKENS)
    assert difference(ours, theirs) < (1e-3 if tiny.arch in APPROXIMATE else 1e-5)


def test_no_architecture_goes_untried() -> None:
    assert {tiny.arch for tiny in TINIES} == set(ARCHITECTURES)
