"""Configurations of the decoders whose layers are all alike and have one feed-forward network."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ollmlx.convert.decoder import LAYER_EPSILON, Config, decoder
from ollmlx.convert.metadata import Metadata
from ollmlx.convert.refusals import NotConvertible

GEMMA2_27B_LAYERS, GEMMA3_27B_LAYERS = 46, 62


def plain(model_type: str, architecture: str, **more: Any) -> Callable[[Metadata], Config]:
    """A family that needs nothing but what all decoders share, and fixed values."""
    return partial(decoder, model_type=model_type, architecture=architecture, **more)


def llama(meta: Metadata) -> Config:
    """Llama, Mistral, and Mixtral, which GGUF counts among them."""
    biases = {
        "attention_bias": meta.has("blk.0.attn_q.bias"),
        "mlp_bias": meta.has("blk.0.ffn_up.bias"),
    }
    if experts := meta.count("expert_count"):
        chosen = meta.integer("expert_used_count")
        more = {"num_local_experts": experts, "num_experts_per_tok": chosen}
        return decoder(meta, "mixtral", "MixtralForCausalLM", **biases, **more)
    return decoder(meta, "llama", "LlamaForCausalLM", **biases)


def mistral3(meta: Metadata) -> Config:
    """Ministral 3, whose attention gets sharper with the position."""
    config = llama(meta)
    sharpening = meta.real("attention.temperature_scale", 0.0)
    if not sharpening:
        return config
    if (scaling := config.pop("rope_scaling", None)) is None or scaling["type"] != "yarn":
        raise NotConvertible("attention.temperature_scale needs YaRN's original context")
    more = {"rope_theta": config["rope_theta"], "llama_4_scaling_beta": sharpening}
    names = {"model_type": "ministral3", "architectures": ["Ministral3ForCausalLM"]}
    return config | names | {"rope_parameters": scaling | more}


def smollm3(meta: Metadata) -> Config:
    # Every fourth layer has no positions; llama.cpp has it in code, not in the file.
    rotary = [int((layer + 1) % 4 != 0) for layer in range(meta.layers)]
    return decoder(meta, "smollm3", "SmolLM3ForCausalLM", no_rope_layers=rotary)


def olmo2(meta: Metadata) -> Config:
    if meta.count("attention.sliding_window"):
        # OLMo 3 has the same name in GGUF; mlx-lm's class for OLMo 2 would leave the windows out.
        raise NotConvertible("OLMo 3 (olmo2 with sliding windows) cannot be converted to MLX")
    return decoder(meta, "olmo2", "Olmo2ForCausalLM", attention_bias=False)


def seed_oss(meta: Metadata) -> Config:
    return decoder(
        meta,
        "seed_oss",
        "SeedOssForCausalLM",
        attention_bias=meta.has("blk.0.attn_q.bias"),
        attention_out_bias=meta.has("blk.0.attn_output.bias"),
        mlp_bias=False,
    )


def granite(meta: Metadata) -> Config:
    return decoder(
        meta,
        "granite",
        "GraniteForCausalLM",
        attention_bias=meta.has("blk.0.attn_q.bias"),
        mlp_bias=meta.has("blk.0.ffn_up.bias"),
        logits_scaling=meta.real("logit_scale", 1.0),
        # llama.cpp reads an absent or zero scale as the usual one.
        attention_multiplier=meta.real("attention.scale", 0.0) or _usual_scale(meta),
        embedding_multiplier=meta.real("embedding_scale", 1.0),
        residual_multiplier=meta.real("residual_scale", 1.0),
    )


def _usual_scale(meta: Metadata) -> float:
    heads = meta.integer("attention.head_count")
    width = meta.integer("embedding_length") // heads
    return float(meta.integer("attention.key_length", max(width, 1)) ** -0.5)


def _gemma(meta: Metadata, model_type: str, architecture: str, **more: Any) -> Config:
    activation = "gelu_pytorch_tanh"
    acts = {"hidden_act": activation, "hidden_activation": activation}
    return decoder(meta, model_type, architecture, **acts, **more)


def gemma(meta: Metadata) -> Config:
    return _gemma(meta, "gemma", "GemmaForCausalLM")


def _query_scalar(meta: Metadata, largest: int) -> int:
    """Not in the file: llama.cpp knows the 27B, which is the exception, by its layers."""
    if meta.layers == largest:
        return meta.integer("embedding_length") // meta.integer("attention.head_count")
    return meta.integer("attention.key_length")


def gemma2(meta: Metadata) -> Config:
    return _gemma(
        meta,
        "gemma2",
        "Gemma2ForCausalLM",
        attn_logit_softcapping=meta.real("attn_logit_softcapping", 50.0),
        final_logit_softcapping=meta.real("final_logit_softcapping", 30.0),
        sliding_window=meta.integer("attention.sliding_window", 4096),
        query_pre_attn_scalar=_query_scalar(meta, GEMMA2_27B_LAYERS),
    )


def gemma3(meta: Metadata) -> Config:
    return _gemma(
        meta,
        "gemma3_text",
        "Gemma3ForCausalLM",
        sliding_window=meta.integer("attention.sliding_window", 1024),
        sliding_window_pattern=meta.integer("attention.sliding_window_pattern", 6),
        rope_local_base_freq=meta.real("rope.freq_base_swa", 10000.0),
        query_pre_attn_scalar=_query_scalar(meta, GEMMA3_27B_LAYERS),
    )


def phi3(meta: Metadata) -> Config:
    config = decoder(meta, "phi3", "Phi3ForCausalLM")
    # mlx-lm's class has no head width of its own.
    head = config["hidden_size"] // config["num_attention_heads"]
    original = meta.integer("rope.scaling.original_context_length", meta.integer("context_length"))
    return config | {
        "partial_rotary_factor": meta.integer("rope.dimension_count", head) / head,
        "original_max_position_embeddings": original,
    }


def _partial_rotary(meta: Metadata, config: Config) -> Config:
    turned = meta.integer("rope.dimension_count", config["head_dim"])
    return config | {"partial_rotary_factor": turned / config["head_dim"]}


def starcoder2(meta: Metadata) -> Config:
    epsilon = meta.real(LAYER_EPSILON)
    return decoder(meta, "starcoder2", "Starcoder2ForCausalLM", use_bias=True, norm_epsilon=epsilon)


def stablelm(meta: Metadata) -> Config:
    config = decoder(
        meta,
        "stablelm",
        "StableLmForCausalLM",
        layer_norm_eps=meta.real(LAYER_EPSILON),
        use_qkv_bias=meta.has("blk.0.attn_q.bias"),
        qk_layernorm=meta.has("blk.0.attn_q_norm.weight"),
        use_parallel_residual=meta.flag("use_parallel_residual"),
    )
    return _partial_rotary(meta, config)


def nemotron(meta: Metadata) -> Config:
    epsilon = meta.real(LAYER_EPSILON)
    more = {"hidden_act": "relu2", "norm_eps": epsilon, "mlp_bias": meta.has("blk.0.ffn_up.bias")}
    return _partial_rotary(meta, decoder(meta, "nemotron", "NemotronForCausalLM", **more))


def glm4(meta: Metadata) -> Config:
    bias = meta.has("blk.0.attn_q.bias")
    config = decoder(meta, "glm4", "Glm4ForCausalLM", attention_bias=bias)
    return _partial_rotary(meta, config)


def _cohere(meta: Metadata, model_type: str, architecture: str, **more: Any) -> Config:
    return decoder(
        meta,
        model_type,
        architecture,
        logit_scale=meta.real("logit_scale"),
        layer_norm_eps=meta.real(LAYER_EPSILON),
        layer_norm_bias=False,
        attention_bias=meta.has("blk.0.attn_q.bias"),
        **more,
    )


def command_r(meta: Metadata) -> Config:
    normed = meta.has("blk.0.attn_q_norm.weight")
    return _cohere(meta, "cohere", "CohereForCausalLM", use_qk_norm=normed)


def cohere2(meta: Metadata) -> Config:
    window = meta.integer("attention.sliding_window")
    more = {"sliding_window": window, "sliding_window_pattern": 4}
    return _cohere(meta, "cohere2", "Cohere2ForCausalLM", **more)


def exaone4(meta: Metadata) -> Config:
    window = meta.count("attention.sliding_window")
    config = decoder(meta, "exaone4", "Exaone4ForCausalLM", sliding_window=window or None)
    # mlx-lm's class wants both keys: three local layers, then a global one.
    config["sliding_window_pattern"] = "LLLG" if window else None
    config.setdefault("rope_scaling", None)
    return config
