"""Which folders of MLX weights see, and what their processors take for the place of a picture."""

from collections.abc import Iterable, Mapping
from pathlib import Path
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
    return str(config.get("model_type")) in MARKS and isinstance(config.get("vision_config"), dict)


def whole(folder: Path, tensors: Iterable[str]) -> bool:
    """Whether what a folder's model sees through is there, for converters for text leave it out:
    a vision tower among the tensors of those names, and how to make pixels of files.
    """
    settings = ("preprocessor_config.json", "processor_config.json")
    if not any((folder / name).is_file() for name in settings):
        return False
    return any("vision" in name or "visual" in name for name in tensors)
