"""Tiny models written as llama.cpp has them and as Ollama's library does: both answer the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ollmlx.convert import convert
from ollmlx.convert.refusals import NotConvertible
from ollmlx.engine.jobs import Embed, LoadOptions
from ollmlx.engine.llama.backend import LlamaCppBackend
from ollmlx.engine.llama.model import Model
from ollmlx.engine.llama.published.layouts import Content, Family, View, computed, written
from ollmlx.engine.llama.published.text import FAMILIES, view
from ollmlx.errors import LoadFailed
from ollmlx.gguf import Gguf
from tests.convert.running import TOKENS, logits_of_handle, smollm2
from tests.convert.tinies import GEMMA3
from tests.convert.tiny import Tiny, contents, write_gguf, write_tiny
from tests.engine.answers import drive
from tests.engine.published import PUBLISHED, Meta, write_published


@pytest.fixture(scope="module")
def tokenizer() -> Meta:
    found = Gguf(smollm2()).meta
    return {name: value for name, value in found.items() if name.startswith("tokenizer.")}


def logits(path: Path, **options: Any) -> NDArray[np.float32]:
    model = Model(str(path), LoadOptions(num_gpu=0, **options), lambda fraction: None)
    try:
        return logits_of_handle(model.handle, TOKENS)
    finally:
        model.close()


@pytest.mark.parametrize("family", PUBLISHED)
def test_a_published_model_thinks_as_llama_cpps_does(
    family: str, tmp_path: Path, tokenizer: Meta
) -> None:
    published = PUBLISHED[family]
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    write_tiny(ours, published.tiny, tokenizer)
    write_published(ours, theirs, published)
    assert view(str(ours)) is None, "llama.cpp's own files are loaded as they are"
    assert np.array_equal(logits(theirs), logits(ours))


@pytest.mark.parametrize(
    ("theirs", "ours", "names"),
    [
        (
            {
                "general.architecture": "glm4moelite",
                "glm4moelite.attention.head_count_kv": 20,
                "glm4moelite.attention.key_length": 256,
                "glm4moelite.attention.value_length": 256,
                "glm4moelite.attention.kv_lora_rank": 512,
                "glm4moelite.rope.dimension_count": 64,
                "tokenizer.ggml.eos_token_ids": [7, 8, 9],
            },
            {
                "general.architecture": "deepseek2",
                "deepseek2.attention.head_count_kv": 1,
                "deepseek2.attention.key_length": 576,
                "deepseek2.attention.value_length": 512,
                "deepseek2.attention.key_length_mla": 256,
                "deepseek2.attention.value_length_mla": 256,
                "deepseek2.expert_group_count": 1,
                "tokenizer.ggml.eot_token_id": 8,
                "tokenizer.ggml.eom_token_id": 9,
                "tokenizer.ggml.pre": "glm4",
            },
            {"blk.0.attn_k_b.weight": "blk.0.attn_k_b.weight"},
        ),
        (
            {
                "general.architecture": "deepseekocr",
                "deepseekocr.block_count": 2,
            },
            {
                "general.architecture": "deepseek2-ocr",
                "deepseek2-ocr.block_count": 2,
                "deepseek2-ocr.expert_feed_forward_length": 4,
                "deepseek2-ocr.expert_shared_count": 2,
            },
            {
                "blk.1.ffn_down_exps.weight": "blk.1.ffn_down_exps.weight",
                "blk.1.ffn_down_shexp.weight": "blk.1.ffn_down_shexp.weight",
                "s.patch_embd.weight": "",
                "mm.layers.weight": "",
            },
        ),
        (
            {"general.architecture": "qwen3next", "qwen3next.attention.head_count_kv": [0, 2]},
            {"qwen3next.attention.head_count_kv": 2},
            {"blk.0.ssm_dt": "blk.0.ssm_dt.bias"},
        ),
        (
            {"general.architecture": "qwen3vlmoe"},
            {
                "qwen3vlmoe.rope.dimension_sections": [24, 20, 20, 0],
                "qwen3vlmoe.n_deepstack_layers": 0,
            },
            {"v.pos_embed.weight": "", "output_norm.weight": "output_norm.weight"},
        ),
        (
            {
                "general.architecture": "gemma3n",
                "tokenizer.ggml.tokens": ["a", "<0x0A>", "<unused7>", "b", "<image>"],
                "tokenizer.ggml.token_type": [1, 1, 4, 1, 3],
            },
            {
                "tokenizer.ggml.tokens": ["a", "<0x0A>", "<unused7>", "b"],
                "tokenizer.ggml.token_type": [1, 6, 1, 1],
                "tokenizer.ggml.eos_token_ids": [1, 106],
                "tokenizer.ggml.model": "llama",
            },
            {
                "token_embd.weight": "token_embd.weight",
                "per_layer_token_embd.weight": "per_layer_token_embd.weight",
            },
        ),
        (
            {"general.architecture": "nemotron_h_omni", "nemotron_h_omni.expert_count": 8},
            {
                "general.architecture": "nemotron_h_moe",
                "nemotron_h_moe.expert_count": 8,
                "nemotron_h_moe.moe_latent_size": 8,
            },
            {
                "blk.1.ffn_latent_in.weight": "blk.1.ffn_latent_down.weight",
                "v.patch_embd.weight": "",
                "mtp.layers.0.norm.weight": "",
            },
        ),
        (
            {"general.architecture": "laguna", "laguna.rope.swa.freq_base": 2.0},
            {"laguna.rope.freq_base_swa": 2.0},
            {"blk.0.attn_g.weight": "blk.0.attn_gate.weight"},
        ),
        (
            {
                "general.architecture": "bert",
                "tokenizer.ggml.model": "t5",
                "tokenizer.ggml.precompiled_charsmap": list("aGVsbG8="),
            },
            {"tokenizer.ggml.precompiled_charsmap": list(b"hello")},
            {"token_embd.weight": "token_embd.weight"},
        ),
        (
            {
                "general.architecture": "llama",
                "tokenizer.ggml.model": "gpt2",
                "tokenizer.ggml.tokens": [str(id) for id in range(128009)] + ["<|eot_id|>"],
                "tokenizer.ggml.eos_token_id": 128001,
            },
            {
                "tokenizer.ggml.pre": "llama-bpe",
                "tokenizer.ggml.eos_token_id": 128009,
                "tokenizer.ggml.eot_token_id": 128009,
            },
            {"token_embd.weight": "token_embd.weight"},
        ),
    ],
    ids=lambda value: value.get("general.architecture") if "general.architecture" in value else "",
)
def test_a_published_header_says_what_llama_cpp_reads(
    tmp_path: Path, theirs: Meta, ours: Meta, names: dict[str, str]
) -> None:
    shapes = {
        "token_embd.weight": (5, 8),
        "per_layer_token_embd.weight": (4, 8),
        "blk.1.ffn_down_exps.weight": (2, 8, 4),
    }
    tensors = {name: np.zeros(shapes.get(name, (8, 8)), np.float32) for name in names}
    write_gguf(tmp_path / "theirs.gguf", theirs, tensors)
    found = view(str(tmp_path / "theirs.gguf"))
    assert found
    with written(found) as path:
        read = Gguf(path)
        assert {name: read.meta[name] for name in ours} == ours
        assert sorted(read.tensors) == sorted(filter(None, names.values()))


def test_embeddinggemma_embeds_as_llama_cpps_does(tmp_path: Path, tokenizer: Meta) -> None:
    keys = GEMMA3 | {"pooling_type": 1, "attention.layer_norm_rms_epsilon": 1e-6}
    write_tiny(tmp_path / "tiny.gguf", Tiny("gemma3", keys), tokenizer)
    meta, tensors = contents(tmp_path / "tiny.gguf")
    generator = np.random.default_rng(0)
    dense = [generator.standard_normal(shape, np.float32) for shape in ((128, 64), (64, 128))]
    renamed = {n.replace("gemma3.", "gemma-embedding."): value for n, value in meta.items()}
    sizes = {"dense_2_feat_in": 64, "dense_2_feat_out": 128} | {
        "dense_3_feat_in": 128,
        "dense_3_feat_out": 64,
    }
    renamed |= {f"gemma-embedding.{name}": size for name, size in sizes.items()}
    renamed |= {"general.architecture": "gemma-embedding"}
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    named = dict(zip(("dense_2.weight", "dense_3.weight"), dense, strict=True))
    write_gguf(ours, renamed, tensors | named)
    tensors["norm.weight"] = tensors.pop("output_norm.weight")
    named = dict(zip(("dense.0.weight", "dense.1.weight"), dense, strict=True))
    write_gguf(theirs, meta | {"gemma3.attention.causal": False}, tensors | named)
    assert np.array_equal(embedding(theirs), embedding(ours))


def embedding(path: Path) -> NDArray[np.float32]:
    options = LoadOptions(num_ctx=64, num_thread=1, num_gpu=0)
    backend = LlamaCppBackend(str(path), options, lambda fraction: None)
    backend.embed(Embed(1, [TOKENS]))
    embedded = drive(backend)[1].embedded
    backend.close()
    assert embedded
    return np.frombuffer(embedded.vectors, "<f4")


def test_an_adapter_fits_a_published_model(tmp_path: Path, tokenizer: Meta) -> None:
    published = PUBLISHED["olmo3"]
    write_tiny(tmp_path / "ours.gguf", published.tiny, tokenizer)
    write_published(tmp_path / "ours.gguf", tmp_path / "theirs.gguf", published)
    name, rows = "blk.0.attn_output.weight", np.ones((2, 64), np.float32)
    adapter = {
        "general.architecture": "olmo2",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 2.0,
    }
    tensors = {f"{name}.lora_a": rows, f"{name}.lora_b": rows.T.copy()}
    write_gguf(tmp_path / "adapter.gguf", adapter, tensors)
    model = Model(
        str(tmp_path / "theirs.gguf"),
        LoadOptions(num_gpu=0, adapters=(str(tmp_path / "adapter.gguf"),)),
        lambda fraction: None,
    )
    assert len(model.adapters) == 1
    model.close()


def test_a_family_that_lacks_what_it_is_known_by_is_refused(tmp_path: Path) -> None:
    meta = {"general.architecture": "deepseekocr"}
    write_gguf(tmp_path / "broken.gguf", meta, {"output.weight": np.zeros((8, 8), np.float32)})
    with pytest.raises(LoadFailed, match="not what Ollama published as 'deepseekocr'"):
        view(str(tmp_path / "broken.gguf"))


@pytest.mark.parametrize("shape", [(3, 3), (8,)])
def test_a_tensor_that_cannot_be_made_is_told(
    shape: tuple[int, ...], tmp_path: Path, tokenizer: Meta, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = PUBLISHED["olmo3"]
    write_tiny(tmp_path / "ours.gguf", published.tiny, tokenizer)
    write_published(tmp_path / "ours.gguf", tmp_path / "theirs.gguf", published)

    def become(view: View) -> None:
        view.become("olmo2")
        view.tensors["output.weight"] = computed(
            view.tensors["output.weight"].shape, lambda: np.zeros(8, np.float32).reshape(shape)
        )

    # No file of a family is known whose tensors fail only while they are read.
    monkeypatch.setitem(FAMILIES, "olmo3", Family(lambda found: True, become))
    with pytest.raises(LoadFailed, match="not what Ollama published as 'olmo3': ValueError"):
        Model(str(tmp_path / "theirs.gguf"), LoadOptions(num_gpu=0), lambda fraction: None)


def test_an_architecture_that_nobody_knows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "unknown.gguf"
    write_gguf(path, {"general.architecture": "mllama"}, {"v.x": np.zeros((8, 8), np.float32)})
    with pytest.raises(LoadFailed, match="unknown model architecture: 'mllama'"):
        Model(str(path), LoadOptions(num_gpu=0), lambda fraction: None)


def test_a_published_model_becomes_no_mlx_model_by_mistake(tmp_path: Path, tokenizer: Meta) -> None:
    published = PUBLISHED["gemma3"]
    write_tiny(tmp_path / "ours.gguf", published.tiny, tokenizer)
    write_published(tmp_path / "ours.gguf", tmp_path / "theirs.gguf", published)
    with pytest.raises(NotConvertible, match="form of Ollama's library"):
        convert(tmp_path / "theirs.gguf", tmp_path / "mlx")


def test_contents_are_the_same_read_whole_and_in_pieces(tmp_path: Path, tokenizer: Meta) -> None:
    published = PUBLISHED["glmocr"]
    write_tiny(tmp_path / "ours.gguf", published.tiny, tokenizer)
    write_published(tmp_path / "ours.gguf", tmp_path / "theirs.gguf", published)
    found = view(str(tmp_path / "theirs.gguf"))
    assert found
    content = Content(found)
    whole = b"".join(piece.tobytes() for piece in content.read())
    assert len(whole) == content.size
    for start, count in ((0, 5), (content.size // 2, 999_999), (content.size - 3, 10)):
        pieces = b"".join(piece.tobytes() for piece in content.read(start, count))
        assert pieces == whole[start : start + count]
