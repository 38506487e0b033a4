"""What the models of Ollama's library see and hear with, as the second file that mtmd wants.

mtmd reads nothing but files, so this one is written, is read at once, and goes again.
Source: `llama/compat/llama-ollama-compat.cpp` of https://github.com/ollama/ollama.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ollmlx.engine.llama.published.gemma import gemma4_senses
from ollmlx.engine.llama.published.layouts import SENSES, Tensor, View, computed, sees, translated
from ollmlx.gguf import BadGguf, Header, header
from ollmlx.gguf.writing import Value, encoded

_HALF = [0.5, 0.5, 0.5]
_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
_PATCHES = ("v.patch_embd.weight", "v.patch_embd.weight.1")


@dataclass(frozen=True)
class Senses:
    """One family's.  All its keys of vision and audio become mtmd's by themselves."""

    projector: str
    """mtmd's name for the way from what is seen to what the model reads."""
    activation: str = "gelu"
    """Empty for mtmd's default, which is a faster GELU."""
    mean: list[float] = field(default_factory=lambda: _HALF)
    std: list[float] = field(default_factory=lambda: _HALF)
    keys: Mapping[str, str] = field(default_factory=dict)
    """mtmd's keys, without `clip.`, by the architecture's others."""
    defaults: Mapping[str, Value] = field(default_factory=dict)
    """Of keys without `clip.vision.`."""
    prepare: Callable[[View], None] = lambda view: None
    """What is done before the tensors are renamed."""
    names: tuple[tuple[str, str], ...] = ()
    floats: tuple[str, ...] = (*_PATCHES, "v.position_embd.weight")
    """Tensors that mtmd computes with as 32-bit floats."""


def inside(found: Header) -> bool:
    """Whether a model of this file sees or hears with what is in the same file."""
    return found.arch in FAMILIES and sees(found)


def view(path: str) -> View | None:
    """What mtmd is to read in place of this file; None where that is the file itself.

    Raises `LoadFailed` for a published file that is not what its family's are.
    """
    try:
        found = header(path)
    except BadGguf:
        return None  # mtmd says what is wrong
    if inside(found):
        senses = FAMILIES[found.arch]
        return translated(path, lambda view: _translate(view, senses))
    return translated(path, _name_llava) if _nameless(found) else None


def _nameless(found: Header) -> bool:
    """The first LLaVAs' projectors do not say what they are."""
    named = {"clip.projector_type", "clip.vision.projector_type"} & found.meta.keys()
    return found.meta.get("clip.has_vision_encoder") is True and not named


def _name_llava(view: View) -> None:
    view.put("clip.projector_type", "mlp")


def _translate(view: View, senses: Senses) -> None:
    _take_keys(view, senses.keys)
    senses.prepare(view)
    for name, value in senses.defaults.items():
        view.default(f"clip.vision.{name}", value)
    view.default("clip.vision.image_mean", senses.mean)
    view.default("clip.vision.image_std", senses.std)
    view.default("clip.has_vision_encoder", view.has("v."))
    if senses.activation:
        view.default(f"clip.use_{senses.activation}", True)
    view.default("clip.vision.projector_type", senses.projector)
    view.keys = {n: v for n, v in view.keys.items() if n.startswith(("general.", "clip."))}
    view.put("general.architecture", "clip")
    view.tensors = {n: t for n, t in view.tensors.items() if n.startswith(SENSES)}
    view.rename(*senses.names)
    view.as_floats(*senses.floats)


def _take_keys(view: View, others: Mapping[str, str]) -> None:
    for source, target in {**others, "embedding_length": "vision.projection_dim"}.items():
        view.copy(f"{view.arch}.{source}", f"clip.{target}")
    for name, value in view.file.meta.items():
        kind, _, rest = name.removeprefix(f"{view.arch}.").partition(".")
        if kind in ("vision", "audio"):
            # mtmd ends the process over a number of another width than it expects.
            single = isinstance(value, int | float)
            target = f"clip.{kind}.{rest}"
            view.keys.setdefault(target, encoded(value) if single else view.keys[name])


# -- Qwen ------------------------------------------------------------------------------------------


def _qwen25vl(view: View) -> None:
    view.default("clip.vision.feed_forward_length", view.tensors["v.blk.0.ffn_up.weight"].shape[0])
    first = view.key("vision.fullatt_block_indexes", [7])[0]
    view.default("clip.vision.n_wa_pattern", first + 1)


def _qwen3(view: View) -> None:
    blocks, stacked = (
        view.key("vision.block_count"),
        view.key("vision.deepstack_visual_indexes", []),
    )
    hidden = view.tensors["v.blk.0.mlp.linear_fc1.weight"].shape[0]
    side = math.isqrt(view.tensors["v.pos_embed.weight"].shape[0])
    view.default("clip.vision.feed_forward_length", hidden)
    view.default("clip.vision.image_size", side * view.key("vision.patch_size"))
    view.default("clip.vision.is_deepstack_layers", [block in stacked for block in range(blocks)])
    if "qwen3vl" in view.arch:
        view.default("clip.vision.image_min_pixels", 1 << 16)
        view.default("clip.vision.image_max_pixels", 1 << 24)
    for name in [n for n in view.tensors if n.startswith("v.blk.") and ".attn_q." in n]:
        parts = (name.replace("attn_q", f"attn_{part}") for part in "qkv")
        view.join(name.replace("attn_q", "attn_qkv"), *parts)
    _split_frames(view, view.key("vision.num_channels", 3))
    view.rename(
        *(
            (f"v.deepstack_merger.{number}.", f"v.deepstack.{block}.")
            for number, block in enumerate(stacked)
        )
    )


def _split_frames(view: View, channels: int) -> None:
    """Two frames in one tensor, `[outputs and channels, frame, y, x]`, as a tensor for each."""
    whole = view.tensors.pop("v.patch_embed.weight")
    packed, frames, height, width = whole.shape
    shape = (packed // channels, channels, height, width)
    for frame, name in zip(range(frames), _PATCHES, strict=True):
        view.tensors[name] = computed(shape, lambda at=frame: whole.values()[:, at].reshape(shape))  # type: ignore[misc]  # mypy infers no type for a lambda's default


# -- others ----------------------------------------------------------------------------------------


def _mistral3(view: View) -> None:
    heads = view.key("vision.attention.head_count")
    for name in [n for n in view.tensors if n.startswith("v.") and n.endswith(_QUERIES_AND_KEYS)]:
        view.tensors[name] = _interleaved(view.tensors[name], heads)
    tokens = view.file.meta["tokenizer.ggml.tokens"]
    embeddings = view.tensors["token_embd.weight"]
    row = tokens.index("[IMG_BREAK]")
    view.tensors["v.token_embd.img_break"] = computed(
        embeddings.shape[1:], lambda: embeddings.values(row)
    )


_QUERIES_AND_KEYS = (".attn_q.weight", ".attn_k.weight")


def _interleaved(tensor: Tensor, heads: int) -> Tensor:
    """Rotary pairs beside each other, where Hugging Face has all first halves, then the second."""
    rows = tensor.shape[0]

    def blocks() -> Any:
        parted = tensor.blocks().reshape(heads, 2, rows // heads // 2, -1)
        return np.ascontiguousarray(parted.swapaxes(1, 2)).reshape(rows, -1)

    return Tensor(tensor.type, tensor.shape, blocks)


def _llama4(view: View) -> None:
    ratio = view.key("vision.pixel_shuffle_ratio", 0.5)
    view.default("clip.vision.projector.scale_factor", round(1 / ratio) if ratio > 0 else 2)


def _deepseekocr(view: View) -> None:
    view.tensors = {
        f"v.sam.{name.removeprefix('s.')}" if name.startswith("s.") else name: tensor
        for name, tensor in view.tensors.items()
    }


_VISION_LEAVES = (
    (".attn_output.", ".attn_out."),
    (".attn_norm.", ".ln1."),
    (".ffn_norm.", ".ln2."),
)
_QWEN3 = Senses(
    "qwen3vl_merger",
    defaults={
        "num_channels": 3,
        "attention.layer_norm_epsilon": 1e-6,
    },
    keys={
        "vision.shortest_edge": "vision.image_min_pixels",
        "vision.longest_edge": "vision.image_max_pixels",
    },
    prepare=_qwen3,
    names=(
        ("v.pos_embed.", "v.position_embd."),
        ("v.patch_embed.", "v.patch_embd."),
        ("v.merger.norm.", "v.post_ln."),
        ("v.merger.linear_fc1.", "mm.0."),
        ("v.merger.linear_fc2.", "mm.2."),
        (".mlp.linear_fc1.", ".ffn_up."),
        (".mlp.linear_fc2.", ".ffn_down."),
        (".linear_fc1.", ".fc1."),
        (".linear_fc2.", ".fc2."),
        (".norm1.", ".ln1."),
        (".norm2.", ".ln2."),
    ),
)
FAMILIES = {
    "deepseekocr": Senses(
        "deepseekocr",
        keys={
            "vision.head_count": "vision.attention.head_count",
            "sam.block_count": "vision.sam.block_count",
            "sam.embedding_length": "vision.sam.embedding_length",
            "sam.head_count": "vision.sam.head_count",
        },
        defaults={
            "feed_forward_length": 64,
            "projection_dim": 1280,
            "projector.scale_factor": 1,
            "window_size": 14,
            "attention.layer_norm_epsilon": 1e-6,
        },
        prepare=_deepseekocr,
        names=(
            ("v.sam.position_embd", "v.sam.pos_embd.weight"),
            (".self_attn.out_proj", ".attn_out"),
            (".self_attn.qkv_proj", ".attn_qkv"),
            (".layer_norm1", ".ln1"),
            (".layer_norm2", ".ln2"),
            (".mlp.fc1", ".ffn_up"),
            (".mlp.fc2", ".ffn_down"),
            ("v.pre_layrnorm", "v.pre_ln"),
            (".attn.proj", ".attn.out"),
            (".attn.rel_pos_h", ".attn.pos_h.weight"),
            (".attn.rel_pos_w", ".attn.pos_w.weight"),
            (".norm1", ".pre_ln"),
            (".norm2", ".post_ln"),
            ("mm.layers", "mm.model.fc"),
            ("mm.image_newline", "v.image_newline"),
            ("mm.view_seperator", "v.view_seperator"),
        ),
        floats=(*_PATCHES, "v.position_embd.weight", "v.sam.patch_embd.weight"),
    ),
    "gemma3": Senses(
        "gemma3",
        names=(
            ("v.patch_embedding", "v.patch_embd"),
            ("v.position_embedding", "v.position_embd"),
            ("v.post_layernorm", "v.post_ln"),
            (".layer_norm1", ".ln1"),
            (".layer_norm2", ".ln2"),
            (".attn_output", ".attn_out"),
            (".mlp.fc1", ".ffn_down"),
            (".mlp.fc2", ".ffn_up"),
            ("mm.mm_input_projection", "mm.input_projection"),
            ("mm.mm_soft_emb_norm", "mm.soft_emb_norm"),
        ),
    ),
    "gemma4": Senses(
        "gemma4v",
        "",
        mean=[0.0, 0.0, 0.0],
        std=[1.0, 1.0, 1.0],
        defaults={"image_size": 224},
        prepare=gemma4_senses,
        floats=_PATCHES,
    ),
    "glmocr": Senses(
        "glm4v",
        "silu",
        keys={
            "vision.intermediate_size": "vision.feed_forward_length",
            "vision.attention.layer_norm_rms_epsilon": "vision.attention.layer_norm_epsilon",
            "vision.out_hidden_size": "vision.projection_dim",
        },
        names=(("v.patch_embd_0.weight", _PATCHES[0]), ("v.patch_embd_1.weight", _PATCHES[1])),
        floats=_PATCHES,
    ),
    "llama4": Senses(
        "llama4",
        keys={"vision.layer_norm_epsilon": "vision.attention.layer_norm_epsilon"},
        prepare=_llama4,
        names=(
            ("v.positional_embedding_vlm", "v.position_embd.weight"),
            ("v.vision_adapter.mlp.fc1", "mm.model.mlp.1"),
            ("v.vision_adapter.mlp.fc2", "mm.model.mlp.2"),
            ("mm.linear_1", "mm.model.fc"),
            ("v.class_embedding", "v.class_embd"),
            ("v.layernorm_post", "v.post_ln"),
            ("v.layernorm_pre", "v.pre_ln"),
            ("v.patch_embedding", "v.patch_embd"),
            *_VISION_LEAVES,
            (".mlp.fc1", ".ffn_up"),
            (".mlp.fc2", ".ffn_down"),
        ),
        floats=(),
    ),
    "mistral3": Senses(
        "pixtral",
        "silu",
        _CLIP_MEAN,
        _CLIP_STD,
        keys={
            "spatial_merge_size": "vision.spatial_merge_size",
            "vision.rope.freq_base": "rope.freq_base",
        },
        defaults={"attention.layer_norm_epsilon": 1e-5},
        prepare=_mistral3,
        names=(
            ("v.patch_conv", "v.patch_embd"),
            ("v.encoder_norm", "v.pre_ln"),
            *_VISION_LEAVES,
            ("mm.linear_1", "mm.1"),
            ("mm.linear_2", "mm.2"),
            ("mm.patch_merger.merging_layer", "mm.patch_merger"),
            ("mm.norm", "mm.input_norm"),
        ),
        floats=_PATCHES,
    ),
    "qwen25vl": Senses(
        "qwen2.5vl_merger",
        "silu",
        _CLIP_MEAN,
        _CLIP_STD,
        defaults={"image_size": 560},
        prepare=_qwen25vl,
        names=(
            ("v.merger.ln_q.", "v.post_ln."),
            ("v.merger.mlp.", "mm."),
            ("v.patch_embd_0.weight", _PATCHES[0]),
            ("v.patch_embd_1.weight", _PATCHES[1]),
        ),
        floats=_PATCHES,
    ),
    "qwen35": _QWEN3,
    "qwen35moe": _QWEN3,
    "qwen3vl": _QWEN3,
    "qwen3vlmoe": _QWEN3,
}
"""By the architecture that the file names."""
