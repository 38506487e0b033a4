"""The text models of Ollama's library that llama.cpp wants otherwise, family by family.

Each family is what tells such a file from one of llama.cpp's own, and what changes.  What predicts
several tokens at once (MTP) is left out: nothing here runs it.
Source: `llama/compat/llama-ollama-compat.cpp` of https://github.com/ollama/ollama.
"""

import base64
import struct

from ollmlx.engine.llama.published.gemma import GEMMA3, GEMMA3N, GEMMA4
from ollmlx.engine.llama.published.layouts import (
    SENSES,
    Family,
    View,
    has,
    marked,
    sees,
    translated,
)
from ollmlx.gguf import BadGguf, Header, header

_LLAMA3_TEXT_END, _LLAMA3_TURN_END = 128001, 128009
_LIST_OF_TEXTS = struct.pack("<II", 9, 8)
_PRE, _EOS, _EOT = (
    "tokenizer.ggml.pre",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
)


def view(path: str) -> View | None:
    """The file as llama.cpp wants it; None where that is as it is.

    Raises `LoadFailed` for a published file that is not what its family's are.
    """
    try:
        found = header(path)
    except BadGguf:
        return None  # llama.cpp says what is wrong, and may know more types than we
    family = FAMILIES.get(found.arch)
    if family is None or not family.published(found):
        return None
    return translated(path, family.translate)


def _always(found: Header) -> bool:
    return True


# -- Qwen ------------------------------------------------------------------------------------------


def _is_qwen35(found: Header) -> bool:
    by_key = marked(
        "vision.block_count", "image_token_id", "ssm.v_head_reordered", "rope.mrope_interleaved"
    )
    return by_key(found) or any(tensor.name.startswith("mtp.") for tensor in found.tensors)


def _is_qwen35moe(found: Header) -> bool:
    return _is_qwen35(found) or found.key("feed_forward_length") is not None


def _qwen35(view: View) -> None:
    _one_head_count(view)
    _four_sections(view, "rope.dimension_sections", f"{view.arch}.rope.dimension_sections")
    _name_time_steps(view)
    if view.has("mtp."):
        view.keys.pop(f"{view.arch}.nextn_predict_layers", None)
    view.hide("mtp.", *SENSES)


def _qwen3next(view: View) -> None:
    _one_head_count(view)
    _name_time_steps(view)


def _has_time_steps(found: Header) -> bool:
    return any(tensor.name.endswith(".ssm_dt") for tensor in found.tensors)


def _one_head_count(view: View) -> None:
    """Layers without attention have 0 in the list."""
    heads = view.key("attention.head_count_kv")
    if isinstance(heads, list):
        view.put(f"{view.arch}.attention.head_count_kv", max(heads) or 2)


def _name_time_steps(view: View) -> None:
    view.tensors = {
        f"{name}.bias" if name.endswith(".ssm_dt") else name: tensor
        for name, tensor in view.tensors.items()
    }


def _four_sections(view: View, source: str, target: str) -> None:
    """Of rotary positions: time, height, width and none."""
    sections = view.key(source)
    if isinstance(sections, list) and len(sections) == 3:
        view.put(target, [*sections, 0])


def _qwen25vl(view: View) -> None:
    view.become("qwen2vl")
    _four_sections(view, "rope.mrope_section", "qwen2vl.rope.dimension_sections")
    view.hide(*SENSES)


def _is_qwen3vl(found: Header) -> bool:
    return sees(found) or found.key("rope.dimension_sections") is None


def _qwen3vl(view: View) -> None:
    sections = [*view.key("rope.mrope_section", [24, 20, 20])[:3], 0]
    view.default(f"{view.arch}.rope.dimension_sections", sections)
    layers = view.key("vision.deepstack_visual_indexes", [])
    view.default(f"{view.arch}.n_deepstack_layers", len(layers))
    view.hide(*SENSES)


# -- GLM and DeepSeek ------------------------------------------------------------------------------


def _glmocr(view: View) -> None:
    view.become("glm4")
    _four_sections(view, "rope.mrope_section", "glm4.rope.dimension_sections")
    view.copy("glm4.attention.key_length", "glm4.rope.dimension_count")
    view.put(_PRE, "chatglm-bpe")
    view.hide(*SENSES)
    view.rename(
        (".attn_out.", ".attn_output."),
        (".post_attn_norm.", ".post_attention_norm."),
        (".post_ffn_norm.", ".post_ffw_norm."),
    )
    for name in [n for n in view.tensors if n.endswith(".ffn_gate.weight")]:
        up = name.replace("ffn_gate", "ffn_up")
        view.join(up, name, up)


def _glm4moelite(view: View) -> None:
    """DeepSeek 2's attention, told by its compressed sizes; the `_mla` ones are those of a head."""
    rank, rotary = view.key("attention.kv_lora_rank"), view.key("rope.dimension_count")
    head = view.key("attention.key_length")
    view.become("deepseek2")
    view.put("deepseek2.attention.head_count_kv", 1)
    if rank is not None and rotary is not None:
        view.put("deepseek2.attention.key_length", rank + rotary)
        view.put("deepseek2.attention.value_length", rank)
    if head is not None:
        view.put("deepseek2.attention.key_length_mla", head)
        view.put("deepseek2.attention.value_length_mla", head)
    view.default("deepseek2.expert_group_count", 1)
    view.default("deepseek2.expert_group_used_count", 1)
    view.put(_PRE, "glm4")
    ends = view.file.meta.get("tokenizer.ggml.eos_token_ids", [])
    for name, end in zip((_EOT, "tokenizer.ggml.eom_token_id"), ends[1:], strict=False):
        view.default(name, end)


def _deepseekocr(view: View) -> None:
    view.become("deepseek2-ocr")
    view.default("deepseek2-ocr.attention.layer_norm_rms_epsilon", 1e-6)
    expert = view.tensors["blk.1.ffn_down_exps.weight"].shape[-1]
    view.default("deepseek2-ocr.expert_feed_forward_length", expert)
    shared = view.tensors["blk.1.ffn_down_shexp.weight"].shape[-1] // expert
    view.default("deepseek2-ocr.expert_shared_count", shared)
    view.hide(*SENSES)


# -- others ----------------------------------------------------------------------------------------


def _snowflake(view: View) -> None:
    """Some have the table that texts are normalised by as a list of the letters of its base64."""
    name = "tokenizer.ggml.precompiled_charsmap"
    listed = view.keys.get(name, b"")
    if listed.startswith(_LIST_OF_TEXTS):
        letters = listed[24::9]  # each behind its length, the first behind the list's
        view.put(name, base64.b64decode(letters))


def _gptoss(view: View) -> None:
    view.become("gpt-oss")
    view.default(
        "gpt-oss.expert_feed_forward_length", view.tensors["blk.0.ffn_gate_exps.weight"].shape[1]
    )
    view.default("gpt-oss.rope.scaling.type", "yarn")
    view.put(_PRE, "gpt-4o")
    view.rename(
        (".attn_out.", ".attn_output."),
        (".attn_sinks.weight", ".attn_sinks"),
        (".attn_sinks", ".attn_sinks.weight"),
        (".ffn_norm.", ".post_attention_norm."),
    )


def _is_lfm2(found: Header) -> bool:
    return has(found, "output_norm.weight") and not has(found, "token_embd_norm.weight")


def _lfm2(view: View) -> None:
    view.rename(("output_norm.weight", "token_embd_norm.weight"))
    view.put(_PRE, "lfm2")
    if gate := view.tensors.get("blk.0.ffn_gate.weight"):
        view.put("lfm2.feed_forward_length", gate.shape[0])


def _mistral3(view: View) -> None:
    for source, target in (
        ("rope.scaling.beta_fast", "rope.scaling.yarn_beta_fast"),
        ("rope.scaling.beta_slow", "rope.scaling.yarn_beta_slow"),
        ("rope.scaling.mscale_all_dim", "rope.scaling.yarn_log_multiplier"),
        ("rope.scaling_beta", "attention.temperature_scale"),
    ):
        view.copy(f"mistral3.{source}", f"mistral3.{target}")
    if view.file.meta.get(_PRE, "") in ("", "default"):
        view.put(_PRE, "tekken")
    view.hide(*SENSES)


def _is_early_llama3(found: Header) -> bool:
    """Of April 2024: byte pairs without a word on how text is split before they are joined."""
    pairs = found.text("tokenizer.ggml.model") == "gpt2"
    return pairs and found.text(_PRE) in ("", "default")


def _llama3(view: View) -> None:
    tokens = view.file.meta.get("tokenizer.ggml.tokens", [])
    if tokens[_LLAMA3_TURN_END : _LLAMA3_TURN_END + 1] != ["<|eot_id|>"]:
        return
    view.put(_PRE, "llama-bpe")
    for name in (_EOS, _EOT):
        if view.file.meta.get(name, _LLAMA3_TEXT_END) == _LLAMA3_TEXT_END:
            view.put(name, _LLAMA3_TURN_END)


def _without_senses(view: View) -> None:
    view.hide(*SENSES)


def _is_laguna(found: Header) -> bool:
    by_key = marked("rope.swa.dimension_count", "rope.swa.freq_base")
    return by_key(found) or has(found, "blk.0.attn_g.weight")


def _laguna(view: View) -> None:
    view.copy("laguna.rope.swa.dimension_count", "laguna.rope.dimension_count_swa")
    view.copy("laguna.rope.swa.freq_base", "laguna.rope.freq_base_swa")
    view.rename((".attn_g.weight", ".attn_gate.weight"))


def _is_nemotron(found: Header) -> bool:
    return any(t.name.startswith("mtp.") or ".ffn_latent_in" in t.name for t in found.tensors)


def _nemotron(view: View) -> None:
    latent = (t for n, t in view.tensors.items() if n.endswith(".ffn_latent_in.weight"))
    if first := next(latent, None):
        view.default("nemotron_h_moe.moe_latent_size", first.shape[0])
    view.rename((".ffn_latent_in", ".ffn_latent_down"), (".ffn_latent_out", ".ffn_latent_up"))
    view.hide("mtp.")


def _nemotron_omni(view: View) -> None:
    mixture = view.key("expert_count", 0) or view.key("expert_used_count", 0)
    arch = "nemotron_h_moe" if mixture else "nemotron_h"
    view.become(arch)
    view.hide(*SENSES)
    if mixture:
        _nemotron(view)


FAMILIES = {
    "bert": Family(lambda found: found.text("tokenizer.ggml.model") == "t5", _snowflake),
    "deepseekocr": Family(_always, _deepseekocr),
    "gemma3": GEMMA3,
    "gemma3n": GEMMA3N,
    "gemma4": GEMMA4,
    "glm4moelite": Family(_always, _glm4moelite),
    "glmocr": Family(_always, _glmocr),
    "gptoss": Family(_always, _gptoss),
    "laguna": Family(_is_laguna, _laguna),
    "lfm2": Family(_is_lfm2, _lfm2),
    "llama": Family(_is_early_llama3, _llama3),
    "llama4": Family(sees, _without_senses),
    "mistral3": Family(
        marked("rope.scaling.beta_fast", "rope.scaling.mscale_all_dim", "rope.scaling_beta"),
        _mistral3,
    ),
    "nemotron_h_moe": Family(_is_nemotron, _nemotron),
    "nemotron_h_omni": Family(sees, _nemotron_omni),
    "olmo3": Family(_always, lambda view: view.become("olmo2")),
    "qwen25vl": Family(_always, _qwen25vl),
    "qwen35": Family(_is_qwen35, _qwen35),
    "qwen35moe": Family(_is_qwen35moe, _qwen35),
    "qwen3next": Family(_has_time_steps, _qwen3next),
    "qwen3vl": Family(_is_qwen3vl, _qwen3vl),
    "qwen3vlmoe": Family(_is_qwen3vl, _qwen3vl),
}
"""By the architecture that the file names."""
