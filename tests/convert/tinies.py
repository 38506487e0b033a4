"""Every architecture in small, with the variants of it that are told apart."""

import math

import numpy as np

from ollmlx.convert.decoder import llama3_divisors
from tests.convert.tiny import Tiny

OUTPUT = ("output.weight",)
"""llama.cpp's loader wants one in some architectures."""

LAYER_NORM = {"attention.layer_norm_rms_epsilon": None, "attention.layer_norm_epsilon": 1e-5}
EXPERTS = {"expert_count": 4, "expert_used_count": 2}
NARROW = EXPERTS | {"expert_feed_forward_length": 64}
SHARED = NARROW | {"expert_shared_feed_forward_length": 32}
WIDE_HEADS = {"attention.key_length": 32, "attention.value_length": 32}
ROTARY = {"rope.dimension_count": 16}

LINEAR = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 128,
}
LLAMA3 = {
    "rope_freqs.weight": llama3_divisors(
        2 * np.pi * 10000.0 ** (np.arange(8) / 8), 8.0, 8192
    ).astype(np.float32)
}

COMMAND_R = LAYER_NORM | {"logit_scale": 0.25}
NEMOTRON = LAYER_NORM | {"rope.dimension_count": 8}
STABLELM = LAYER_NORM | {"rope.dimension_count": 4, "use_parallel_residual": False}
GEMMA = WIDE_HEADS | {"rope.dimension_count": 32}
GEMMA3 = GEMMA | {"attention.sliding_window": 4, "block_count": 6}
GPT_OSS = NARROW | {"attention.sliding_window": 4}
MINISTRAL = (
    ROTARY
    | YARN
    | {
        "rope.scaling.original_context_length": 8,
        "rope.scaling.yarn_log_multiplier": 1.0,
        "attention.temperature_scale": 0.3,
    }
)
PHI3_LONG = ROTARY | {
    # Below llama.cpp's context here, so that it takes the long factors, as MLX always does.
    "rope.scaling.original_context_length": 32,
    "rope.scaling.attn_factor": math.sqrt(1 + math.log(512 / 32) / math.log(32)),
}
PHI3_FACTORS = {
    "rope_factors_long.weight": np.linspace(1, 9, 8, dtype=np.float32),
    "rope_factors_short.weight": np.linspace(1, 2, 8, dtype=np.float32),
}
GRANITE = ROTARY | {
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
GEMMA4 = WIDE_HEADS | {
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
GEMMA4_DIVISORS = {"rope_freqs.weight": np.array([1.0] * 4 + [1e30] * 12, np.float32)}

LLAMA = Tiny("llama", ROTARY)
TINIES = [
    LLAMA,
    Tiny("llama", ROTARY, (*OUTPUT, "blk.0.attn_q.bias", "blk.0.ffn_up.bias")),
    Tiny("llama", ROTARY | {"context_length": 32768}, extra=LLAMA3),
    Tiny("llama", ROTARY | EXPERTS),
    Tiny("mistral3", ROTARY),
    Tiny("mistral3", MINISTRAL),
    Tiny("smollm3", ROTARY),
    Tiny("granite", GRANITE),
    Tiny("granitemoe", GRANITE | EXPERTS),
    Tiny("qwen2", {}),
    Tiny("qwen2", YARN),
    Tiny("qwen2moe", SHARED, OUTPUT),
    Tiny("qwen3", WIDE_HEADS),
    Tiny("qwen3", WIDE_HEADS | LINEAR, OUTPUT),
    Tiny("qwen3moe", WIDE_HEADS | NARROW),
    Tiny("qwen35", QWEN35),
    Tiny("qwen35moe", QWEN35 | SHARED),
    Tiny("gemma", GEMMA),
    Tiny("gemma2", GEMMA | {"attention.sliding_window": 512}),
    Tiny("gemma3", GEMMA3),
    Tiny("gemma3", GEMMA3 | LINEAR),
    Tiny("gemma4", GEMMA4, extra=GEMMA4_DIVISORS),
    Tiny("gemma4", GEMMA4 | {"embedding_length_per_layer_input": 32}, extra=GEMMA4_DIVISORS),
    Tiny("gemma4", GEMMA4 | {"attention.head_count_kv": [2, 2, 2, 1]}, extra=GEMMA4_DIVISORS),
    Tiny("phi3", ROTARY | {"rope.scaling.original_context_length": 512}),
    Tiny("phi3", PHI3_LONG, extra=PHI3_FACTORS),
    Tiny("olmo2", {}, OUTPUT),
    Tiny("olmoe", EXPERTS | {"attention.head_count_kv": 4}, OUTPUT),
    Tiny("starcoder2", LAYER_NORM),
    Tiny("stablelm", STABLELM, OUTPUT),
    Tiny("stablelm", STABLELM | {"use_parallel_residual": True}, (*OUTPUT, "blk.0.attn_q.bias")),
    Tiny("command-r", COMMAND_R),
    # llama.cpp knows some models by their number of layers.
    Tiny("command-r", COMMAND_R | {"block_count": 64}, ("blk.0.attn_q_norm.weight",)),
    Tiny("cohere2", COMMAND_R | {"attention.sliding_window": 4}),
    Tiny("seed_oss", WIDE_HEADS, ("blk.0.attn_q.bias",)),
    Tiny("ernie4_5", {}),
    Tiny("hunyuan-dense", {}),
    Tiny("exaone4", {}),
    Tiny("exaone4", {"attention.sliding_window": 4096, "block_count": 64}),
    Tiny("glm4", {"rope.dimension_count": 8}, ("blk.0.attn_q.bias",)),
    Tiny("lfm2", {"attention.head_count_kv": [0, 2, 0, 2], "shortconv.l_cache": 3}),
    Tiny("nemotron", NEMOTRON, OUTPUT),
    Tiny("nemotron", NEMOTRON, (*OUTPUT, "blk.0.ffn_up.bias")),
    Tiny("gpt-oss", GPT_OSS, OUTPUT),
    Tiny("gpt-oss", GPT_OSS | YARN, OUTPUT),
]

APPROXIMATE = {"gemma", "gemma2", "gemma3", "gemma4", "starcoder2"}
"""llama.cpp looks their activation, GELU, up in a table of float16."""

QUANTISED = [
    LLAMA,
    Tiny("qwen35", QWEN35),
    Tiny("gpt-oss", GPT_OSS, OUTPUT),
    Tiny("gemma3", GEMMA3),
]
"""With rows moved, heads moved, experts with biases, and shared embeddings."""
