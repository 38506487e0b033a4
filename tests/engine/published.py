"""Tiny models as llama.cpp has them, and how those of Ollama's library differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.convert.tinies import (
    GEMMA3,
    GEMMA4,
    GEMMA4_DIVISORS,
    GPT_OSS,
    MINISTRAL,
    OUTPUT,
    QWEN35,
    SHARED,
)
from tests.convert.tiny import LAYERS, Tiny, contents, write_gguf

Meta = dict[str, Any]
Tensors = dict[str, NDArray[Any]]
EYES = {"v.patch_embd.weight": np.zeros((8, 3, 4, 4), np.float32), "mm.0.bias": np.ones(4, "f4")}


@dataclass(frozen=True)
class Published:
    """How a family's files differ from what llama.cpp's converter writes."""

    tiny: Tiny
    arch: str = ""
    """Ollama's name, where it is another one."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Names of the architecture's keys, theirs by llama.cpp's."""
    lacking: tuple[str, ...] = ()
    stated: Mapping[str, Any] = field(default_factory=dict)
    """Whole keys with other values."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Parts of tensors' names, theirs by llama.cpp's."""
    inside: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Tensors that llama.cpp does not know."""
    otherwise: Callable[[Tensors], None] = lambda tensors: None


def _split_mlp(tensors: Tensors) -> None:
    for layer in range(LAYERS):
        up = f"blk.{layer}.ffn_up.weight"
        tensors[f"blk.{layer}.ffn_gate.weight"], tensors[up] = np.split(tensors[up], 2)


PUBLISHED = {
    "gemma3": Published(
        Tiny("gemma3", GEMMA3 | {"rope.freq_base": 1e6, "attention.layer_norm_rms_epsilon": 1e-6}),
        keys={"rope.freq_base": "rope.global.freq_base"},
        lacking=("attention.layer_norm_rms_epsilon",),
        inside=EYES,
    ),
    "gemma4": Published(
        Tiny("gemma4", GEMMA4, extra=GEMMA4_DIVISORS),
        inside=EYES | {"a.blk.0.ln1.weight": np.ones(4, np.float32)},
    ),
    "gptoss": Published(
        Tiny("gpt-oss", GPT_OSS, OUTPUT),
        "gptoss",
        lacking=("expert_feed_forward_length",),
        stated={"tokenizer.ggml.pre": "default"},
        names={
            ".attn_output.": ".attn_out.",
            ".attn_sinks.weight": ".attn_sinks",
            ".post_attention_norm.": ".ffn_norm.",
        },
    ),
    "lfm2": Published(
        Tiny("lfm2", {"attention.head_count_kv": [0, 2, 0, 2], "shortconv.l_cache": 3}),
        stated={"lfm2.feed_forward_length": 12288, "tokenizer.ggml.pre": "default"},
        names={"token_embd_norm.weight": "output_norm.weight"},
    ),
    "mistral3": Published(
        Tiny("mistral3", MINISTRAL),
        keys={
            "rope.scaling.yarn_log_multiplier": "rope.scaling.mscale_all_dim",
            "attention.temperature_scale": "rope.scaling_beta",
        },
        inside=EYES,
    ),
    "olmo3": Published(Tiny("olmo2", {}, OUTPUT), "olmo3"),
    "qwen35": Published(
        Tiny("qwen35", QWEN35),
        stated={
            "qwen35.attention.head_count_kv": [0, 2, 0, 2],
            "qwen35.rope.dimension_sections": [3, 3, 2],
            "qwen35.nextn_predict_layers": 1,
        },
        names={".ssm_dt.bias": ".ssm_dt"},
        inside=EYES | {"mtp.fc.weight": np.zeros((64, 128), np.float32)},
    ),
    "qwen35moe": Published(
        Tiny("qwen35moe", QWEN35 | SHARED),
        names={".ssm_dt.bias": ".ssm_dt"},
        inside={"mtp.layers.0.mlp.experts.0.up_proj.weight": np.zeros((4, 64), np.float32)},
    ),
    "glmocr": Published(
        Tiny("glm4", {"rope.dimension_count": 16, "attention.key_length": 16}),
        "glmocr",
        lacking=("rope.dimension_count",),
        stated={"tokenizer.ggml.pre": "llama-bpe"},
        names={
            ".attn_output.": ".attn_out.",
            ".post_attention_norm.": ".post_attn_norm.",
            ".post_ffw_norm.": ".post_ffn_norm.",
        },
        inside=EYES,
        otherwise=_split_mlp,
    ),
}


def write_published(source: Path, target: Path, published: Published) -> None:
    meta, tensors = contents(source)
    arch, own = published.tiny.arch, published.arch or published.tiny.arch
    meta = {_key(name, arch, own, published): value for name, value in meta.items()}
    for name in published.lacking:
        meta.pop(f"{own}.{name}", None)
    published.otherwise(tensors)
    for ours, theirs in published.names.items():
        tensors = {name.replace(ours, theirs): values for name, values in tensors.items()}
    meta |= {"general.architecture": own} | dict(published.stated)
    write_gguf(target, meta, tensors | dict(published.inside))


def _key(name: str, arch: str, own: str, published: Published) -> str:
    if not name.startswith(f"{arch}."):
        return name
    rest = name.removeprefix(f"{arch}.")
    return f"{own}.{published.keys.get(rest, rest)}"
