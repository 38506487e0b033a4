"""The Gemmas of Ollama's library that llama.cpp wants otherwise: 3, EmbeddingGemma, 3n and 4.

Source: `llama/compat` and `convert/convert_gemma4.go` of https://github.com/ollama/ollama.
"""

from ollmlx.engine.llama.published.layouts import SENSES, Family, View, constant, has, marked, sees
from ollmlx.gguf import Header

_TURN_END = 106
_NORMAL, _BYTE = 1, 6
_HEARING = {
    "ln1": "attn_pre_norm",
    "ln2": "attn_post_norm",
    "layer_pre_norm": "ln2",
    "linear_pos": "attn_k_rel",
}
_CLAMPED = ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down")
_BOUNDS = ("input_min", "input_max", "output_min", "output_max")


def _is_gemma3(found: Header) -> bool:
    by_key = marked("mm.tokens_per_image", "rope.global.freq_base", "rope.local.freq_base")
    old = ("tokenizer.ggml.add_padding_token", "tokenizer.ggml.add_unknown_token")
    return (
        by_key(found)
        or any(name in found.meta for name in old)
        or found.key("attention.layer_norm_rms_epsilon") is None
        or has(found, "dense.0.weight")
    )


def _gemma3(view: View) -> None:
    if view.has("dense.0."):
        _embeddinggemma(view)
    else:
        _gemma3_chat(view)


def _gemma3_chat(view: View) -> None:
    view.copy("gemma3.rope.global.freq_base", "gemma3.rope.freq_base")
    view.copy("gemma3.rope.local.freq_base", "gemma3.rope.freq_base_swa")
    view.default("gemma3.attention.layer_norm_rms_epsilon", 1e-6)
    view.default("gemma3.rope.freq_base", 1e6)
    view.default("gemma3.rope.freq_base_swa", 1e4)
    if view.key("context_length", 0) >= 131072:  # all but the 1B stretch their positions
        view.default("gemma3.rope.scaling.type", "linear")
        view.default("gemma3.rope.scaling.factor", 8.0)
    view.shorten_vocabulary(view.tensors["token_embd.weight"].shape[0])
    view.hide(*SENSES)


def _embeddinggemma(view: View) -> None:
    first, second = (view.tensors[f"dense.{number}.weight"].shape for number in (0, 1))
    view.become("gemma-embedding")
    for name in ("attention.causal", "attention.sliding_window_pattern"):
        view.keys.pop(f"gemma-embedding.{name}", None)
    view.default("gemma-embedding.rope.freq_base_swa", 1e4)
    for number, shape in ((2, first), (3, second)):
        view.put(f"gemma-embedding.dense_{number}_feat_in", shape[1])
        view.put(f"gemma-embedding.dense_{number}_feat_out", shape[0])
    view.rename(("dense.0.", "dense_2."), ("dense.1.", "dense_3."))
    view.tensors = {
        "output_norm.weight" if name == "norm.weight" else name: tensor
        for name, tensor in view.tensors.items()
    }


def _is_gemma3n(found: Header) -> bool:
    rows = {
        tensor.shape[0]
        for tensor in found.tensors
        if tensor.name in ("token_embd.weight", "per_layer_token_embd.weight")
    }
    return len(rows) > 1 or sees(found)


def _gemma3n(view: View) -> None:
    """Without the tokens of images and sounds, for which there are no embeddings of each layer."""
    count = view.tensors["per_layer_token_embd.weight"].shape[0]
    view.shorten("token_embd.weight", count)
    view.shorten_vocabulary(count)
    view.put("tokenizer.ggml.model", "llama")
    tokens = view.file.meta["tokenizer.ggml.tokens"][:count]
    types = view.file.meta.get("tokenizer.ggml.token_type", [_NORMAL] * count)
    view.put(
        "tokenizer.ggml.token_type",
        [_gemma3n_type(*each) for each in zip(tokens, types, strict=False)],
    )
    ends = view.file.meta.get("tokenizer.ggml.eos_token_ids", [1])
    view.put("tokenizer.ggml.eos_token_ids", sorted({*ends, _TURN_END}))
    view.hide(*SENSES)


def _gemma3n_type(token: str, stated: int) -> int:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return _BYTE
    return _NORMAL if token.startswith("<unused") else stated


def _is_gemma4(found: Header) -> bool:
    return sees(found) or found.text("tokenizer.ggml.model") == "llama"


def _gemma4(view: View) -> None:
    if view.file.meta.get("tokenizer.ggml.model") == "llama":
        view.put("tokenizer.ggml.model", "gemma4")
    view.hide(*SENSES)
    view.rename((".ffn_gate_inp.per_expert_scale", ".ffn_down_exps.scale"))


def gemma4_senses(view: View) -> None:
    """The tensors and keys of what Gemma 4 sees and hears with, as mtmd calls them."""
    _unpack_bounds(view)
    if not view.has("a."):
        return
    view.put("clip.has_audio_encoder", True)
    view.put("clip.audio.projector_type", "gemma4a")
    view.default("clip.audio.num_mel_bins", 128)
    view.copy("gemma4.embedding_length", "clip.audio.projection_dim")
    view.rename(
        ("a.pre_encode.out.weight", "a.input_projection.weight"),
        ("mm.a.fc.", "a.pre_encode.out."),
    )
    view.tensors = {_in_mtmds_words(name): tensor for name, tensor in view.tensors.items()}


def _in_mtmds_words(name: str) -> str:
    """One of the new names is one of the old, so all change at once."""
    if not name.startswith("a.blk."):
        return name
    block, leaf, kind = name.rsplit(".", 2)
    return f"{block}.{_HEARING.get(leaf, leaf)}.{kind}"


def _unpack_bounds(view: View) -> None:
    """What layers' numbers are clamped to: in one tensor, four of them for each multiplication."""
    packed = view.tensors.pop("v.clamp_data", None)
    if packed is None or view.has("v.blk.0.attn_q.input_m"):
        return
    blocks = range(view.key("vision.block_count"))
    clamped = [f"v.blk.{block}.{leaf}" for block in blocks for leaf in _CLAMPED]
    for number, name in enumerate([*clamped, "mm.input_projection"]):
        bounds = packed.values().reshape(-1, len(_BOUNDS))[number]
        if bounds.any():
            for bound, value in zip(_BOUNDS, bounds, strict=True):
                view.tensors[f"{name}.{bound}"] = constant(float(value))


GEMMA3 = Family(_is_gemma3, _gemma3)
GEMMA3N = Family(_is_gemma3n, _gemma3n)
GEMMA4 = Family(_is_gemma4, _gemma4)
