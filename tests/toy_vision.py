"""Toy models that see: a random text model and a random vision tower of two layers, as two GGUFs.

*plain* (LLaVA's projector): an image is 64 tokens in a row.  *tiled* (LLaVA-1.6's): a run for the
whole and one for each of its tiles.  *whole* (Gemma 3's): 16 tokens between
two marks, all of which see each other.  *grid* (Qwen2-VL's): tokens that lie in two dimensions,
as many as the image is large, and take fewer positions than tokens.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests import toy

WIDTH, FEED, HEADS, LAYERS, PATCH, SIDE = 32, 64, 2, 2, 4, 32
Draw = Callable[..., NDArray[np.float32]]
KINDS = {"plain": "mlp", "tiled": "mlp", "whole": "gemma3", "grid": "qwen2vl_merger"}


@dataclass(frozen=True)
class Sees:
    """A text model and what it sees through."""

    model: Path
    projector: Path


def make_seeing(folder: Path, kind: str) -> Sees:
    """Write both files of one kind, a name of `KINDS`, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = Sees(folder / f"{kind}.gguf", folder / f"mmproj-{kind}.gguf")
    _write_text_model(seen.model, "qwen2vl" if kind == "grid" else "llama")
    _write_projector(seen.projector, KINDS[kind], kind == "tiled")
    return seen


def make_one_file(folder: Path) -> Path:
    """A text model that holds a tensor of its eyes too, as those of Ollama's library do."""
    path = folder / "one-file.gguf"
    _write_text_model(path, "llama", {"v.patch_embd.weight": np.zeros((8, 3, 4, 4), np.float32)})
    return path


def picture(seed: int, width: int = 24, height: int = 16, layout: str = "png") -> bytes:
    """An image file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, layout)
    return file.getvalue()


def enormous() -> bytes:
    """A small file of which a gigabyte of pixels would be made."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "png")
    return file.getvalue()


def _write_text_model(path: Path, arch: str, extra: Mapping[str, Any] | None = None) -> None:
    vocabulary = toy._vocabulary()
    writer = gguf.GGUFWriter(path, arch)
    toy._write_llama_keys(writer)
    if arch == "qwen2vl":
        writer.add_rope_dimension_sections([4, 2, 2, 0])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    toy._write_vocabulary(writer, vocabulary)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, toy.LAYERS)
    for name, values in toy._random(len(vocabulary.tokens), 0.25).items():
        target = names.get_name(name, try_suffixes=(".weight",))
        assert target is not None, name
        writer.add_tensor(target, values)
    if arch == "qwen2vl":
        for name, values in _attention_biases():
            writer.add_tensor(name, values)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    toy._finish(writer)


def _attention_biases() -> list[tuple[str, NDArray[np.float32]]]:
    """Qwen's, all zero."""
    sizes = {"q": toy.HIDDEN, "k": toy.KV_HEADS * toy.HEAD, "v": toy.KV_HEADS * toy.HEAD}
    return [
        (f"blk.{layer}.attn_{part}.bias", np.zeros(size, np.float32))
        for layer in range(toy.LAYERS)
        for part, size in sizes.items()
    ]


def _write_projector(path: Path, projector: str, tiled: bool) -> None:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", projector)
    writer.add_bool("clip.use_gelu", True)
    for key, value in (
        ("image_size", SIDE),
        ("patch_size", PATCH),
        ("embedding_length", WIDTH),
        ("feed_forward_length", FEED),
        ("block_count", LAYERS),
        ("projection_dim", toy.HIDDEN),
        ("attention.head_count", HEADS),
        ("projector.scale_factor", 2),
    ):
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    if tiled:
        writer.add_array("clip.vision.image_grid_pinpoints", [SIDE, 2 * SIDE, 2 * SIDE, SIDE])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for name, values in _vision_weights(projector).items():
        writer.add_tensor(name, values)
    toy._finish(writer)


def _vision_weights(projector: str) -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(1)

    def draw(*shape: int) -> NDArray[np.float32]:
        return np.float32(shape[-1] ** -0.5) * generator.standard_normal(shape, np.float32)

    weights = {
        "v.patch_embd.weight": draw(WIDTH, 3, PATCH, PATCH),
        "v.position_embd.weight": draw((SIDE // PATCH) ** 2, WIDTH),
        "v.post_ln.weight": 1 + draw(WIDTH),
        "v.post_ln.bias": draw(WIDTH),
    }
    for layer in range(LAYERS):
        for name, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, WIDTH),
            ("attn_v", WIDTH, WIDTH),
            ("attn_out", WIDTH, WIDTH),
            ("ffn_up", FEED, WIDTH),
            ("ffn_down", WIDTH, FEED),
        ):
            weights[f"v.blk.{layer}.{name}.weight"] = draw(rows, columns)
            weights[f"v.blk.{layer}.{name}.bias"] = draw(rows)
        for name in ("ln1", "ln2"):
            weights[f"v.blk.{layer}.{name}.weight"] = 1 + draw(WIDTH)
            weights[f"v.blk.{layer}.{name}.bias"] = draw(WIDTH)
    return weights | _projection(projector, draw)


def _projection(projector: str, draw: Draw) -> dict[str, NDArray[np.float32]]:
    match projector:
        case "gemma3":
            return {
                "mm.input_projection.weight": 4 * draw(WIDTH, toy.HIDDEN),
                "mm.soft_emb_norm.weight": 1 + draw(WIDTH),
            }
        case "qwen2vl_merger":
            first, second = (4 * WIDTH, 4 * WIDTH), (toy.HIDDEN, 4 * WIDTH)
            extra = {"v.patch_embd.weight.1": draw(WIDTH, 3, PATCH, PATCH)}
        case _:
            first, second = (toy.HIDDEN, WIDTH), (toy.HIDDEN, toy.HIDDEN)
            extra = {}
    return extra | {
        "mm.0.weight": draw(*first),
        "mm.0.bias": draw(first[0]),
        "mm.2.weight": 4 * draw(*second),
        "mm.2.bias": draw(second[0]),
    }
