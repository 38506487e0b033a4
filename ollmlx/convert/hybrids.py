"""Configurations of the decoders whose layers differ: recurrent, convolving, of other widths."""

from itertools import pairwise

from ollmlx.convert.decoder import Config, decoder
from ollmlx.convert.metadata import Metadata
from ollmlx.convert.mixtures import experts
from ollmlx.convert.refusals import NotConvertible

UNTURNED = 1e5
"""Gemma 4: divisors above this (1e30) in `rope_freqs.weight` mark pairs that do not turn."""


def lfm2(meta: Metadata) -> Config:
    heads = meta.per_layer("attention.head_count_kv", meta.layers)
    width, hidden = meta.integer("feed_forward_length"), meta.integer("embedding_length")
    return decoder(
        meta,
        "lfm2",
        "Lfm2ForCausalLM",
        num_key_value_heads=max(heads),
        full_attn_idxs=[layer for layer, count in enumerate(heads) if count],
        conv_L_cache=meta.integer("shortconv.l_cache"),
        conv_bias=meta.has("blk.0.shortconv.conv.bias"),
        norm_eps=meta.real("attention.layer_norm_rms_epsilon"),
        block_dim=hidden,
        block_ff_dim=width,
        # The file has the width after Liquid's own rounding.
        block_multiple_of=256,
        block_ffn_dim_multiplier=1.0,
        block_auto_adjust_ff_dim=False,
    )


def qwen35(meta: Metadata) -> Config:
    """Three layers of gated delta rule, then one of attention."""
    if meta.text("rope.scaling.type") not in (None, "none"):
        raise NotConvertible("rotary scaling of this architecture cannot be converted to MLX")
    head, values = meta.integer("attention.key_length"), meta.integer("ssm.time_step_rank")
    mixture = meta.count("expert_count") > 0
    rope = {
        "type": "default",
        "rope_theta": meta.real("rope.freq_base"),
        "partial_rotary_factor": meta.integer("rope.dimension_count") / head,
        "mrope_section": _sections(meta),
    }
    return decoder(
        meta,
        "qwen3_5_moe" if mixture else "qwen3_5",
        "Qwen3_5MoeForCausalLM" if mixture else "Qwen3_5ForCausalLM",
        # Layers that only predict further tokens are not run.
        num_hidden_layers=meta.layers - meta.count("nextn_predict_layers"),
        rope_parameters=rope,
        full_attention_interval=meta.integer("full_attention_interval", 4),
        linear_conv_kernel_dim=meta.integer("ssm.conv_kernel"),
        linear_key_head_dim=meta.integer("ssm.state_size"),
        linear_num_key_heads=meta.integer("ssm.group_count"),
        linear_num_value_heads=values,
        linear_value_head_dim=meta.integer("ssm.inner_size") // values,
        **_qwen35_experts(meta, mixture),
    )


def _sections(meta: Metadata) -> list[int]:
    if meta.text("rope.dimension_sections") is None:
        return [11, 11, 10]
    return [each for each in meta.integers("rope.dimension_sections") if each]


def _qwen35_experts(meta: Metadata, mixture: bool) -> Config:
    if not mixture:
        return {}
    width = meta.integer("expert_feed_forward_length")
    return {
        "intermediate_size": meta.integer("feed_forward_length", width),
        "moe_intermediate_size": width,
        "shared_expert_intermediate_size": meta.integer("expert_shared_feed_forward_length"),
        **experts(meta),
    }


def gemma4(meta: Metadata) -> Config:
    """The dense text model: local layers with narrow heads, global ones with wide heads."""
    layers = meta.layers
    local = [bool(each) for each in meta.per_layer("attention.sliding_window_pattern", layers)]
    heads = meta.per_layer("attention.head_count_kv", layers)
    widths = meta.per_layer("feed_forward_length", layers)
    near = next((count for count, windowed in zip(heads, local, strict=True) if windowed), heads[0])
    far = next((count for count, windowed in zip(heads, local, strict=True) if not windowed), near)
    first_global = local.index(False) if False in local else 0
    return decoder(
        meta,
        "gemma4_text",
        "Gemma4ForCausalLM",
        head_dim=meta.integer("attention.key_length_swa"),
        global_head_dim=meta.integer("attention.key_length"),
        num_key_value_heads=near,
        num_global_key_value_heads=far if far != near else None,
        sliding_window=meta.integer("attention.sliding_window"),
        layer_types=["sliding_attention" if each else "full_attention" for each in local],
        num_kv_shared_layers=meta.count("attention.shared_kv_layers"),
        hidden_size_per_layer_input=meta.count("embedding_length_per_layer_input"),
        vocab_size_per_layer_input=meta.rows("token_embd.weight"),
        final_logit_softcapping=meta.real("final_logit_softcapping"),
        intermediate_size=widths[0],
        use_double_wide_mlp=any(a != b for a, b in pairwise(widths)),
        attention_k_eq_v=not meta.has(f"blk.{first_global}.attn_v.weight"),
        rope_parameters=_gemma4_rope(meta),
    )


def _gemma4_rope(meta: Metadata) -> Config:
    turned = 0.25
    if meta.has("rope_freqs.weight"):
        divisors = meta.vector("rope_freqs.weight")
        turned = float((divisors < UNTURNED).mean())
    return {
        "full_attention": {
            "rope_type": "proportional",
            "rope_theta": meta.real("rope.freq_base"),
            "partial_rotary_factor": turned,
        },
        "sliding_attention": {
            "rope_type": "default",
            "rope_theta": meta.real("rope.freq_base_swa", 10000.0),
        },
    }
