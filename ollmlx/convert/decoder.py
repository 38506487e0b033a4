"""The part of an MLX configuration that all decoders share, and how they scale their positions."""

import math
from typing import Any

import numpy as np

from ollmlx.convert.blocks import Floats
from ollmlx.convert.metadata import Metadata
from ollmlx.convert.refusals import NotConvertible

Config = dict[str, Any]
"""What `config.json` holds: Hugging Face's names."""

RMS_EPSILON = "attention.layer_norm_rms_epsilon"
LAYER_EPSILON = "attention.layer_norm_epsilon"

LLAMA3_CONTEXTS = (8192, 4096, 16384, 32768, 2048)
"""Original context lengths to try: the file has only the divisors that follow from one."""


def decoder(meta: Metadata, model_type: str, architecture: str, **more: Any) -> Config:
    """The configuration of a decoder whose layers are alike; `more` adds to it and overrides it."""
    config: Config = {
        "model_type": model_type,
        "architectures": [architecture],
        "hidden_size": meta.integer("embedding_length"),
        "num_hidden_layers": meta.layers,
        "max_position_embeddings": meta.integer("context_length"),
        "vocab_size": meta.rows("token_embd.weight"),
        "rope_theta": meta.real("rope.freq_base", 10000.0),
        "tie_word_embeddings": not meta.has("output.weight"),
    }
    if "intermediate_size" not in more:
        config["intermediate_size"] = meta.integer("feed_forward_length")
    config |= _attention(meta, more)
    if meta.text(RMS_EPSILON) is not None:
        config["rms_norm_eps"] = meta.real(RMS_EPSILON)
    if "rope_parameters" not in more and (scaling := rope_scaling(meta, config)):
        config["rope_scaling"] = scaling
    return config | more


def _attention(meta: Metadata, known: Config) -> Config:
    heads = meta.integer("attention.head_count")
    width = meta.integer("embedding_length")
    head = known.get("head_dim") or meta.integer("attention.key_length", max(width // heads, 1))
    found: Config = {"num_attention_heads": heads, "head_dim": head}
    if "num_key_value_heads" not in known:
        found["num_key_value_heads"] = meta.integer("attention.head_count_kv", heads)
    return found


def rope_scaling(meta: Metadata, config: Config) -> Config | None:
    """How positions beyond the trained length are squeezed; None when they are not."""
    if meta.has("rope_freqs.weight"):
        divisors = meta.vector("rope_freqs.weight")
        return llama3_scaling(divisors, config["head_dim"], config["rope_theta"])
    if meta.has("rope_factors_long.weight"):
        return _long_rope(meta)
    kind = meta.text("rope.scaling.type")
    if kind is None and meta.real("rope.scale_linear", 1.0) != 1.0:
        return _scaling("linear", meta.real("rope.scale_linear"))
    match kind:
        case None | "none":
            return None
        case "linear":
            return _scaling(kind, meta.real("rope.scaling.factor"))
        case "yarn":
            return _yarn(meta)
    raise NotConvertible(f"rotary scaling {kind!r} cannot be converted to MLX")


def _scaling(kind: str, factor: float) -> Config:
    # mlx-lm reads `type` in some classes and `rope_type` in others.
    return {"rope_type": kind, "type": kind, "factor": factor}


def _yarn(meta: Metadata) -> Config:
    original = meta.integer("rope.scaling.original_context_length")
    scaling = _scaling("yarn", meta.real("rope.scaling.factor"))
    if attention := meta.real("rope.scaling.yarn_log_multiplier", 0.0):
        scaling |= {"mscale": 1.0, "mscale_all_dim": attention}
    return scaling | {
        "original_max_position_embeddings": original,
        "beta_fast": meta.real("rope.scaling.yarn_beta_fast", 32.0),
        "beta_slow": meta.real("rope.scaling.yarn_beta_slow", 1.0),
    }


def _long_rope(meta: Metadata) -> Config:
    context = meta.integer("context_length")
    return {
        "rope_type": "longrope",
        "type": "longrope",
        "original_max_position_embeddings": meta.integer(
            "rope.scaling.original_context_length", context
        ),
        "long_factor": meta.vector("rope_factors_long.weight").tolist(),
        "short_factor": meta.vector("rope_factors_short.weight").tolist(),
    }


def llama3_scaling(divisors: Floats, head: int, base: float) -> Config:
    """The Llama 3 rule that gives these `divisors` of the head's frequencies, (head / 2,)."""
    waves = 2 * math.pi * base ** (np.arange(0, head, 2, dtype=np.float64) / head)
    factor = round(float(divisors.max()), 4)
    for original in LLAMA3_CONTEXTS:
        expected = llama3_divisors(waves, factor, original)
        if len(expected) == len(divisors) and np.allclose(expected, divisors, rtol=2e-3):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": original,
            }
    raise NotConvertible("rope_freqs.weight follows no rule that MLX knows")


def llama3_divisors(waves: Any, factor: float, original: int) -> Any:
    """1 for waves below a quarter of the context, `factor` above all of it, smooth between."""
    smooth = (original / waves - 1.0) / 3.0
    between = 1 / ((1 - smooth) / factor + smooth)
    return np.where(waves < original / 4, 1.0, np.where(waves > original, factor, between))
