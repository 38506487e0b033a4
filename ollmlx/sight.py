"""Which folders of MLX weights see, and what their processors take for the place of a picture."""

from collections.abc import Iterable, Mapping
from typing import Any

MARKS = {
    "gemma3": "<start_of_image>",
    "idefics3": "<image>",
    "llava": "<image>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "smolvlm": "<image>",
}
"""By `model_type`: families that write in our batches what they write alone."""


def known(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is that of a model to show pictures to."""
    return config.get("model_type") in MARKS and isinstance(config.get("vision_config"), dict)


def in_weights(tensors: Iterable[str]) -> bool:
    """Whether tensors of those names are a vision tower's too: converters for text drop them."""
    return any("vision" in name or "visual" in name for name in tensors)
