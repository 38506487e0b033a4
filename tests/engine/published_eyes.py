"""Toy eyes as llama.cpp has them, and what Ollama's library calls all of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.convert.tinies import GEMMA3, GEMMA4, GEMMA4_DIVISORS, QWEN35, ROTARY, WIDE_HEADS
from tests.convert.tiny import Tiny
from tests.toy_vision import FEED, HEADS, LAYERS, PATCH, SIDE, WIDTH

Meta = dict[str, Any]
Tensors = dict[str, NDArray[Any]]
TEXT = 64
"""Width of the text models."""
FRAME = (WIDTH, 3, PATCH, PATCH)
POSITIONS = (SIDE // PATCH) ** 2
MERGED = 4 * WIDTH


@dataclass(frozen=True)
class Eyes:
    """A family's projector by llama.cpp's names, and what Ollama calls it all."""

    tiny: Tiny
    projector: str
    weights: Mapping[str, tuple[int, ...]]
    """Shapes of the tensors beside those of the blocks."""
    text: str = ""
    """llama.cpp's name of the text model, where a tiny one of another name has its tensors."""
    arch: str = ""
    """Ollama's, where that is another one."""
    text_keys: Mapping[str, Any] = field(default_factory=dict)
    """Of the text model in llama.cpp's file alone."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Of `clip.vision`, beside the common ones."""
    lacking: tuple[str, ...] = ()
    """Keys of `clip.vision` that Ollama's files do not have."""
    called: Mapping[str, str] = field(default_factory=dict)
    """Keys of the architecture, by llama.cpp's of `clip.vision`, that are not called the same."""
    names: tuple[tuple[str, str], ...] = ()
    block: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of a block's tensors beside the common ones; an empty one takes one away."""
    activation: str = "gelu"
    colours: tuple[list[float], list[float]] = ([0.5] * 3, [0.5] * 3)
    """Mean and deviation."""
    otherwise: Callable[[Tensors], Tensors] = lambda tensors: tensors
    stated: Mapping[str, Any] = field(default_factory=dict)
    """Whole keys of Ollama's file."""


CLIP_COLOURS = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
COMMON = {
    "image_size": SIDE,
    "patch_size": PATCH,
    "embedding_length": WIDTH,
    "feed_forward_length": FEED,
    "block_count": LAYERS,
    "attention.head_count": HEADS,
    "attention.layer_norm_epsilon": 1e-6,
}
BLOCK = {
    "attn_q.weight": (WIDTH, WIDTH),
    "attn_q.bias": (WIDTH,),
    "attn_k.weight": (WIDTH, WIDTH),
    "attn_k.bias": (WIDTH,),
    "attn_v.weight": (WIDTH, WIDTH),
    "attn_v.bias": (WIDTH,),
    "attn_out.weight": (WIDTH, WIDTH),
    "attn_out.bias": (WIDTH,),
    "ffn_up.weight": (FEED, WIDTH),
    "ffn_up.bias": (FEED,),
    "ffn_down.weight": (WIDTH, FEED),
    "ffn_down.bias": (WIDTH,),
    "ln1.weight": (WIDTH,),
    "ln1.bias": (WIDTH,),
    "ln2.weight": (WIDTH,),
    "ln2.bias": (WIDTH,),
}
NO_BIASES = {name: () for name in BLOCK if name.endswith(".bias")}
GATED = {"ffn_gate.weight": (FEED, WIDTH)}
JOINED = {f"attn_{part}.{kind}": () for part in "qkv" for kind in ("weight", "bias")} | {
    "attn_qkv.weight": (3 * WIDTH, WIDTH),
    "attn_qkv.bias": (3 * WIDTH,),
}


def _split_qwen(tensors: Tensors) -> Tensors:
    """Queries, keys and values apart, in types that differ; both frames in one tensor."""
    kept = {}
    for name, values in tensors.items():
        if "attn_qkv" not in name:
            kept[name] = values
            continue
        for part, third in zip("qkv", np.split(values, 3), strict=True):
            kind = np.float16 if part != "v" and third.ndim > 1 else np.float32
            kept[name.replace("attn_qkv", f"attn_{part}")] = third.astype(kind)
    first, second = kept.pop("v.patch_embd.weight"), kept.pop("v.patch_embd.weight.1")
    both = np.stack([first, second], 2).reshape(-1, 2, PATCH, PATCH)
    return kept | {"v.patch_embed.weight": both.astype(np.float16)}


def _unrotated(tensors: Tensors) -> Tensors:
    """Halves of rotary pairs behind each other, as Hugging Face has them; no row for line ends."""
    tensors = {name: values for name, values in tensors.items() if "img_break" not in name}
    for name, values in tensors.items():
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            parted = values.reshape(HEADS, -1, 2, WIDTH).swapaxes(1, 2)
            tensors[name] = parted.reshape(WIDTH, WIDTH)
    return tensors


CLAMPED = ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down")
BOUNDS = {"input_min": -0.9, "input_max": 0.8, "output_min": -0.5, "output_max": 0.4}


def _packed(tensors: Tensors) -> Tensors:
    """The bounds of all multiplications in one tensor; those of what is not clamped are 0."""
    bounds = [
        f"v.blk.{layer}.{leaf}.{bound}"
        for layer in range(2)
        for leaf in CLAMPED
        for bound in BOUNDS
    ]
    values = [tensors.pop(name) for name in bounds]
    return tensors | {"v.clamp_data": np.concatenate([*values, np.zeros(4, np.float32)])}


QWEN_EYES = {
    "v.patch_embd.weight": FRAME,
    "v.patch_embd.weight.1": FRAME,
    "v.patch_embd.bias": (WIDTH,),
    "v.position_embd.weight": (POSITIONS, WIDTH),
    "v.post_ln.weight": (WIDTH,),
    "v.post_ln.bias": (WIDTH,),
    "mm.0.weight": (MERGED, MERGED),
    "mm.0.bias": (MERGED,),
    "mm.2.weight": (TEXT, MERGED),
    "mm.2.bias": (TEXT,),
}
QWEN_NAMES = (
    ("v.position_embd.", "v.pos_embed."),
    ("v.patch_embd.", "v.patch_embed."),
    ("v.post_ln.", "v.merger.norm."),
    ("mm.0.", "v.merger.linear_fc1."),
    ("mm.2.", "v.merger.linear_fc2."),
    (".ffn_up.", ".mlp.linear_fc1."),
    (".ffn_down.", ".mlp.linear_fc2."),
    (".ln1.", ".norm1."),
    (".ln2.", ".norm2."),
)
EYES = {
    "gemma3": Eyes(
        Tiny("gemma3", GEMMA3),
        "gemma3",
        {
            "v.patch_embd.weight": FRAME,
            "v.position_embd.weight": (POSITIONS, WIDTH),
            "v.post_ln.weight": (WIDTH,),
            "v.post_ln.bias": (WIDTH,),
            "mm.input_projection.weight": (WIDTH, TEXT),
            "mm.soft_emb_norm.weight": (WIDTH,),
        },
        keys={"projector.scale_factor": 2},
        names=(
            ("v.patch_embd", "v.patch_embedding"),
            ("v.position_embd", "v.position_embedding"),
            ("v.post_ln", "v.post_layernorm"),
            (".ln1", ".layer_norm1"),
            (".ln2", ".layer_norm2"),
            (".attn_out", ".attn_output"),
            (".ffn_up", ".mlp.fc1"),
            (".ffn_down", ".mlp.fc2"),
            ("mm.input_projection", "mm.mm_input_projection"),
            ("mm.soft_emb_norm", "mm.mm_soft_emb_norm"),
        ),
    ),
    "gemma4": Eyes(
        Tiny("gemma4", GEMMA4, extra=GEMMA4_DIVISORS),
        "gemma4v",
        {
            "v.patch_embd.weight": FRAME,
            "v.position_embd.weight": (2, 64, WIDTH),
            "mm.input_projection.weight": (TEXT, WIDTH),
        },
        keys={"projector.scale_factor": 2},
        block=NO_BIASES
        | GATED
        | {f"{name}_norm.weight": (WIDTH // HEADS,) for name in ("attn_q", "attn_k")}
        | {f"{name}_post_norm.weight": (WIDTH,) for name in ("attn", "ffn")}
        | {f"{name}.{bound}": (1,) for name in CLAMPED for bound in BOUNDS},
        activation="",
        colours=([0.0] * 3, [1.0] * 3),
        otherwise=_packed,
    ),
    "glmocr": Eyes(
        Tiny("glm4", {"rope.dimension_count": 8}),
        "glm4v",
        {
            "v.patch_embd.weight": FRAME,
            "v.patch_embd.weight.1": FRAME,
            "v.patch_embd.bias": (WIDTH,),
            "v.post_ln.weight": (WIDTH,),
            "mm.model.fc.weight": (TEXT, TEXT),
            "mm.up.weight": (FEED, TEXT),
            "mm.gate.weight": (FEED, TEXT),
            "mm.down.weight": (TEXT, FEED),
            "mm.post_norm.weight": (TEXT,),
            "mm.post_norm.bias": (TEXT,),
            "mm.patch_merger.weight": (TEXT, WIDTH, 2, 2),
            "mm.patch_merger.bias": (TEXT,),
        },
        arch="glmocr",
        keys={"spatial_merge_size": 2},
        called={
            "feed_forward_length": "vision.intermediate_size",
            "attention.layer_norm_epsilon": "vision.attention.layer_norm_rms_epsilon",
        },
        stated={"glmocr.vision.out_hidden_size": TEXT},
        names=(
            ("v.patch_embd.weight.1", "v.patch_embd_1.weight"),
            ("v.patch_embd.weight", "v.patch_embd_0.weight"),
        ),
        block=JOINED | GATED | {"ln1.bias": (), "ln2.bias": ()},
        activation="silu",
    ),
    "mistral3": Eyes(
        Tiny("mistral3", ROTARY),
        "pixtral",
        {
            "v.patch_embd.weight": FRAME,
            "v.pre_ln.weight": (WIDTH,),
            "mm.1.weight": (TEXT, WIDTH),
            "mm.2.weight": (TEXT, TEXT),
            "mm.input_norm.weight": (WIDTH,),
            "mm.patch_merger.weight": (WIDTH, MERGED),
            "v.token_embd.img_break": (TEXT,),
        },
        keys={"spatial_merge_size": 2},
        lacking=("attention.layer_norm_epsilon",),
        called={"spatial_merge_size": "spatial_merge_size"},
        names=(
            ("v.patch_embd", "v.patch_conv"),
            ("v.pre_ln", "v.encoder_norm"),
            (".attn_out.", ".attn_output."),
            (".ln1.", ".attn_norm."),
            (".ln2.", ".ffn_norm."),
            ("mm.1.", "mm.linear_1."),
            ("mm.2.", "mm.linear_2."),
            ("mm.patch_merger", "mm.patch_merger.merging_layer"),
            ("mm.input_norm", "mm.norm"),
        ),
        block=NO_BIASES | GATED,
        activation="silu",
        colours=CLIP_COLOURS,
        otherwise=_unrotated,
    ),
    "qwen25vl": Eyes(
        Tiny("qwen2", {}),
        "qwen2.5vl_merger",
        {name: shape for name, shape in QWEN_EYES.items() if "patch_embd.bias" not in name}
        | {"v.position_embd.weight": (), "v.post_ln.bias": ()},
        "qwen2vl",
        "qwen25vl",
        text_keys={"rope.dimension_sections": [4, 2, 2, 0]},
        keys={"spatial_merge_size": 2, "window_size": 16, "n_wa_pattern": 2},
        lacking=("feed_forward_length", "n_wa_pattern"),
        stated={
            "qwen25vl.vision.fullatt_block_indexes": [1, 3],
            "qwen25vl.rope.mrope_section": [4, 2, 2],
        },
        names=(
            ("v.post_ln.", "v.merger.ln_q."),
            ("mm.", "v.merger.mlp."),
            ("v.patch_embd.weight.1", "v.patch_embd_1.weight"),
            ("v.patch_embd.weight", "v.patch_embd_0.weight"),
        ),
        block=GATED | {"ffn_gate.bias": (FEED,), "ln1.bias": (), "ln2.bias": ()},
        activation="silu",
        colours=CLIP_COLOURS,
    ),
    "qwen35": Eyes(
        Tiny("qwen35", QWEN35),
        "qwen3vl_merger",
        QWEN_EYES,
        keys={"spatial_merge_size": 2, "is_deepstack_layers": [False, False]},
        lacking=("image_size", "feed_forward_length", "is_deepstack_layers"),
        names=QWEN_NAMES,
        block=JOINED,
        otherwise=_split_qwen,
    ),
    "qwen3vl": Eyes(
        Tiny("qwen3", WIDE_HEADS),
        "qwen3vl_merger",
        QWEN_EYES
        | {f"v.deepstack.1.norm.{kind}": (MERGED,) for kind in ("weight", "bias")}
        | {
            "v.deepstack.1.fc1.weight": (MERGED, MERGED),
            "v.deepstack.1.fc1.bias": (MERGED,),
            "v.deepstack.1.fc2.weight": (TEXT, MERGED),
            "v.deepstack.1.fc2.bias": (TEXT,),
        },
        "qwen3vl",
        text_keys={"rope.dimension_sections": [24, 20, 20, 0], "n_deepstack_layers": 1},
        keys={
            "spatial_merge_size": 2,
            "is_deepstack_layers": [False, True],
            "image_min_pixels": 1 << 16,
            "image_max_pixels": 1 << 24,
        },
        lacking=(
            "image_size",
            "feed_forward_length",
            "is_deepstack_layers",
            "image_min_pixels",
            "image_max_pixels",
        ),
        stated={"qwen3vl.vision.deepstack_visual_indexes": [1]},
        names=(
            ("v.deepstack.1.fc", "v.deepstack_merger.0.linear_fc"),
            ("v.deepstack.1.", "v.deepstack_merger.0."),
            *QWEN_NAMES,
        ),
        block=JOINED,
        otherwise=_split_qwen,
    ),
}
