"""Which folders of MLX weights see, and what their processors take for the place of a picture."""

from collections.abc import Mapping
from typing import Any

MARKS = {
    "gemma3": "<start_of_image>",
    "idefics3": "<image>",
    "llava": "<image>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "smolvlm": "<image>",
}
"""By `model_type`: families that write in our batches what they write alone."""


def sees(config: Mapping[str, Any]) -> bool:
    """Whether the folder with this `config.json` is a model to show pictures to."""
    return config.get("model_type") in MARKS and isinstance(config.get("vision_config"), dict)
