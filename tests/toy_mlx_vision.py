"""Toy MLX models that see, a random one of two layers for each family that the engine knows.

Their weights are what mlx-vlm's own classes begin with, from one seed.
"""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_vlm.utils import get_model_and_args, update_module_configs

from tests import toy

SIDE, PATCH = 16, 4
PIXELS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
TEXT = {
    "hidden_size": toy.HIDDEN,
    "num_hidden_layers": toy.LAYERS,
    "intermediate_size": toy.FEED_FORWARD,
    "num_attention_heads": toy.HEADS,
    "num_key_value_heads": toy.KV_HEADS,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": toy.CONTEXT,
    "tie_word_embeddings": False,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
ROWS = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
QWEN = ["<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"]
TILED = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *ROWS]
MROPE = {"rope_scaling": {"type": "default", "mrope_section": [4, 2, 2]}}
SPECIAL = {
    "gemma3": ["<image_soft_token>", "<start_of_image>", "<end_of_image>"],
    "idefics3": TILED,
    "llava": ["<image>"],
    "qwen2_5_vl": QWEN,
    "qwen2_vl": QWEN,
    "qwen3_vl": QWEN,
    "smolvlm": TILED,
}
"""What the tokens of each family's pictures are called, the one that is repeated first."""


def make_seeing_mlx(folder: Path, family: str) -> Path:
    """Write a model of one family, a name of `SPECIAL`, into `folder`."""
    vocabulary = toy._vocabulary()
    toy._write_mlx(folder, {}, vocabulary)
    ids = _add_tokens(folder, family)
    config = _config(family, ids, len(vocabulary.tokens) + 32)
    toy._write_json(folder / "config.json", config)
    for name, settings in _processor(family).items():
        toy._write_json(folder / name, settings)
    _write_weights(folder, config)
    return folder


def _add_tokens(folder: Path, family: str) -> dict[str, int]:
    """The ids of the added tokens, which come after all others."""
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    added = [AddedToken(t, special=True, normalized=False) for t in SPECIAL[family]]
    tokenizer.add_special_tokens(added)
    tokenizer.save(str(folder / "tokenizer.json"))
    if family == "gemma3":
        path = folder / "tokenizer_config.json"
        names = ("image_token", "boi_token", "eoi_token")
        extra = dict(zip(names, SPECIAL[family], strict=True))
        settings = json.loads(path.read_text()) | {"extra_special_tokens": extra} | extra
        toy._write_json(path, settings)
    return {token: tokenizer.token_to_id(token) for token in SPECIAL[family]}


def _config(family: str, ids: dict[str, int], num_vocab: int) -> dict[str, Any]:
    text = TEXT | {"vocab_size": num_vocab, "model_type": "llama", "rope_theta": 10000.0}
    first = ids[SPECIAL[family][0]]
    config: dict[str, Any] = {
        "model_type": family,
        "torch_dtype": "float32",
        "text_config": text,
        "vision_config": VISION | {"model_type": "siglip_vision_model"},
        "image_token_index": first,
        "image_token_id": first,
        "hidden_size": toy.HIDDEN,
        "vocab_size": num_vocab,
        "eos_token_id": ids_of_toy()["<|im_end|>"],
    }
    if family == "llava":
        config["vision_config"] |= {"model_type": "clip_vision_model", "projection_dim": 64}
    if family == "gemma3":
        text |= {"model_type": "gemma3_text", "head_dim": toy.HEAD, "mm_tokens_per_image": 4}
        text |= {"sliding_window_pattern": 2, "sliding_window": 24}
    if family == "qwen3_vl":
        text |= {"model_type": "qwen3_vl_text", "head_dim": toy.HEAD} | MROPE
        config |= _qwen(family, ids)
    elif family.startswith("qwen"):
        config |= text | MROPE | _qwen(family, ids) | {"model_type": family}
    return config


def ids_of_toy() -> dict[str, int]:
    return toy._vocabulary().ids


def _qwen(family: str, ids: dict[str, int]) -> dict[str, Any]:
    vision = {
        "model_type": family,
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": toy.HIDDEN if family == "qwen2_vl" else 32,
        "out_hidden_size": toy.HIDDEN,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": PATCH,
        "spatial_patch_size": PATCH,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
    }
    return {
        "vision_config": vision,
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "video_token_id": ids["<|video_pad|>"],
        "image_token_index": None,
    }


def _processor(family: str) -> dict[str, dict[str, Any]]:
    """`preprocessor_config.json` and `processor_config.json`."""
    square = {"height": SIDE, "width": SIDE}
    if family == "llava":
        pixels = {"image_processor_type": "CLIPImageProcessor", "crop_size": square}
        about: dict[str, Any] = {"patch_size": PATCH, "num_additional_image_tokens": 1}
        about |= {"vision_feature_select_strategy": "default", "image_token": "<image>"}
        return _files(pixels | {"size": {"shortest_edge": SIDE}}, about)
    if family == "gemma3":
        pixels = {"image_processor_type": "Gemma3ImageProcessor", "size": square}
        return _files(pixels | {"do_pan_and_scan": False}, {"image_seq_length": 4})
    if family.startswith("qwen"):
        pixels = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": PATCH}
        pixels |= {"temporal_patch_size": 2, "merge_size": 2}
        return _files(pixels | {"min_pixels": 64, "max_pixels": 1024}, {})
    kind = "SmolVLM" if family == "smolvlm" else "Idefics3"
    pixels = {"image_processor_type": f"{kind}ImageProcessor", "do_image_splitting": True}
    pixels |= {"size": {"longest_edge": 2 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
    return _files(pixels, {"image_seq_len": 4})


def _files(pixels: dict[str, Any], about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"preprocessor_config.json": PIXELS | pixels, "processor_config.json": about}


def _write_weights(folder: Path, config: dict[str, Any]) -> None:
    package, _ = get_model_and_args(config)
    settings = package.ModelConfig.from_dict(dict(config))
    settings = update_module_configs(settings, package, config, ["text", "vision"])
    mx.random.seed(3)
    model = package.Model(settings)
    gain = 4 if config["model_type"] == "gemma3" else 1
    weights = {name: _random(name, like, gain) for name, like in tree_flatten(model.parameters())}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})


def _random(name: str, like: mx.array, gain: int) -> mx.array:
    """Large enough for what is read to matter; `gain` is that of norms behind Gemma's layers."""
    if like.ndim == 1:
        return gain * like if "post_" in name else like
    return 2 * mx.random.normal(like.shape) * like.shape[-1] ** -0.5
