"""How Ollama words the size and the quantisation of a model."""

from collections.abc import Mapping
from typing import Any

from ollmlx.gguf import Header
from ollmlx.store.documents import text
from ollmlx.wire.native import ModelDetails

FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
}
"""llama.cpp's number of a file type (`general.file_type`) → its name."""

_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def parameter_size(count: int) -> str:
    """`134.52M`, `8.0B`, `22K`; whole millions and billions without decimals: `7B`."""
    for unit, letter, decimals in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0)):
        if count >= unit:
            return f"{count / unit:.{0 if count % unit == 0 else decimals}f}{letter}"
    return str(count)


def whole(value: Any) -> int:
    """A number out of a file that might hold anything; 0 for what is no positive whole number."""
    return value if isinstance(value, int) and 0 < value < 1 << 63 else 0


def of_gguf(header: Header, parameter_count: int) -> ModelDetails:
    file_type = header.meta.get("general.file_type")
    known = FILE_TYPES.get(file_type) if isinstance(file_type, int) else None
    return ModelDetails(
        parent_model="",
        format="gguf",
        family=header.arch,
        families=[header.arch],
        parameter_size=parameter_size(parameter_count),
        quantization_level=known or "unknown",
        context_length=whole(header.key("context_length")),
        embedding_length=whole(header.key("embedding_length")),
    )


def of_config(config: Mapping[str, Any], parameter_count: int, dtype: str) -> ModelDetails:
    """Details from a config.json; `dtype` is what its weights say, for a config that does not."""
    family = text(config.get("model_type"))
    return ModelDetails(
        parent_model="",
        format="safetensors",
        family=family,
        families=[family],
        parameter_size=parameter_size(parameter_count),
        quantization_level=_quantization_level(config, dtype),
        context_length=config_number(config, "max_position_embeddings", "n_positions", "n_ctx"),
        embedding_length=config_number(config, "hidden_size", "n_embd", "d_model"),
    )


def config_number(config: Mapping[str, Any], *keys: str) -> int:
    """The first of `keys` that a config.json, or its language part, has; 0 without any."""
    nested = config.get("text_config")
    for part in (config, nested if isinstance(nested, dict) else {}):
        for key in keys:
            if number := whole(part.get(key)):
                return number
    return 0


def quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """MLX's `quantization` of a config.json; empty for weights that are not quantised."""
    for key in ("quantization", "quantization_config"):
        value = config.get(key)
        if isinstance(value, dict) and whole(value.get("bits")):
            return value
    return {}


def _quantization_level(config: Mapping[str, Any], dtype: str) -> str:
    """`int4`, `int8`, `mxfp4` as Ollama names MLX's forms, else the type of the weights: `BF16`."""
    recipe = quantization(config)
    if recipe:
        mode = recipe.get("mode", "affine")
        return f"int{recipe['bits']}" if mode == "affine" else text(mode)
    stated = config.get("torch_dtype") or config.get("dtype")
    return dtype or _DTYPES.get(str(stated), "unknown")
