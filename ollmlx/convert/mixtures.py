"""Configurations of the mixtures of experts, apart from Mixtral, which is a llama in GGUF."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ollmlx.convert.decoder import Config, decoder
from ollmlx.convert.dense import granite
from ollmlx.convert.metadata import Metadata


def experts(meta: Metadata, called: str = "num_experts") -> Config:
    return {
        called: meta.integer("expert_count"),
        "num_experts_per_tok": meta.integer("expert_used_count"),
    }


def qwen(model_type: str, architecture: str, **more: Any) -> Callable[[Metadata], Config]:
    return partial(_qwen, model_type=model_type, architecture=architecture, **more)


def _qwen(meta: Metadata, model_type: str, architecture: str, **more: Any) -> Config:
    width = meta.integer("expert_feed_forward_length")
    config = decoder(
        meta,
        model_type,
        architecture,
        intermediate_size=meta.integer("feed_forward_length", width),
        moe_intermediate_size=width,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        **experts(meta),
        **more,
    )
    if shared := meta.count("expert_shared_feed_forward_length"):
        config["shared_expert_intermediate_size"] = shared
    return config


def olmoe(meta: Metadata) -> Config:
    return decoder(meta, "olmoe", "OlmoeForCausalLM", norm_topk_prob=False, **experts(meta))


def granitemoe(meta: Metadata) -> Config:
    names = {"model_type": "granitemoe", "architectures": ["GraniteMoeForCausalLM"]}
    return granite(meta) | names | experts(meta, "num_local_experts")


def gpt_oss(meta: Metadata) -> Config:
    width = meta.count("expert_feed_forward_length") or meta.integer("feed_forward_length")
    kinds = ("sliding_attention", "full_attention")
    config = decoder(
        meta,
        "gpt_oss",
        "GptOssForCausalLM",
        intermediate_size=width,
        sliding_window=meta.integer("attention.sliding_window"),
        layer_types=[kinds[layer % 2] for layer in range(meta.layers)],
        **experts(meta, "num_local_experts"),
    )
    if "rope_scaling" in config:
        config["rope_scaling"]["truncate"] = False
    return config
