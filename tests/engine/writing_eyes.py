"""Toy eyes written beside a tiny model, and inside one as Ollama's library has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.convert.tiny import contents, write_gguf, write_tiny
from tests.engine.published_eyes import BLOCK, BOUNDS, COMMON, TEXT, Eyes, Meta, Tensors
from tests.toy_vision import LAYERS


@dataclass(frozen=True)
class Written:
    text: Path
    projector: Path
    both: Path
    """As Ollama has them."""


def write(folder: Path, eyes: Eyes, tokenizer: Meta) -> Written:
    files = Written(folder / "text.gguf", folder / "mmproj.gguf", folder / "both.gguf")
    write_tiny(folder / "tiny.gguf", eyes.tiny, tokenizer)
    meta, tensors = contents(folder / "tiny.gguf")
    name = eyes.text or eyes.tiny.arch
    ours = _renamed(meta, eyes.tiny.arch, name)
    write_gguf(files.text, ours | {f"{name}.{k}": v for k, v in eyes.text_keys.items()}, tensors)
    weights = _weights(eyes, tensors["token_embd.weight"])
    write_gguf(files.projector, _clip_meta(eyes), weights)
    own = eyes.arch or name
    theirs = _renamed(meta, eyes.tiny.arch, own) | dict(eyes.stated)
    for key, value in {**COMMON, **eyes.keys}.items():
        if key not in eyes.lacking:
            theirs[f"{own}.{eyes.called.get(key, f'vision.{key}')}"] = value
    write_gguf(files.both, theirs, tensors | _as_ollamas(eyes, weights))
    return files


def _renamed(meta: Meta, arch: str, name: str) -> Meta:
    changed = {
        f"{name}{k.removeprefix(arch)}" if k.startswith(f"{arch}.") else k: v
        for k, v in meta.items()
    }
    return changed | {"general.architecture": name}


def _clip_meta(eyes: Eyes) -> Meta:
    keys = {f"clip.vision.{key}": value for key, value in {**COMMON, **eyes.keys}.items()}
    if "attention.layer_norm_epsilon" in eyes.lacking:
        keys["clip.vision.attention.layer_norm_epsilon"] = 1e-5
    if eyes.activation:
        keys[f"clip.use_{eyes.activation}"] = True
    mean, deviation = eyes.colours
    return keys | {
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.projector_type": eyes.projector,
        "clip.vision.projection_dim": TEXT,
        "clip.vision.image_mean": mean,
        "clip.vision.image_std": deviation,
    }


def _weights(eyes: Eyes, embeddings: NDArray[Any]) -> Tensors:
    generator = np.random.default_rng(1)

    def draw(shape: tuple[int, ...]) -> NDArray[np.float32]:
        values = generator.standard_normal(shape) * shape[-1] ** -0.5
        return values.astype(np.float16).astype(np.float32)

    shapes = dict(eyes.weights)
    for layer in range(LAYERS):
        shapes |= {f"v.blk.{layer}.{n}": s for n, s in {**BLOCK, **eyes.block}.items()}
    weights = {name: draw(shape) for name, shape in shapes.items() if shape}
    for name in weights:
        if bound := BOUNDS.get(name.rpartition(".")[2]):
            weights[name] = np.array([bound], np.float32)
    if "v.token_embd.img_break" in weights:
        weights["v.token_embd.img_break"] = embeddings[12]
    return weights


def _as_ollamas(eyes: Eyes, weights: Tensors) -> Tensors:
    weights = eyes.otherwise(dict(weights))
    for ours, theirs in eyes.names:
        weights = {name.replace(ours, theirs, 1): values for name, values in weights.items()}
    return weights
