"""A GGUF becomes a folder that mlx-lm loads, with the same answers; what cannot is told why."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
import pytest
from tokenizers import Tokenizer

from ollmlx.convert import convert
from ollmlx.convert.refusals import NotConvertible, UnsupportedArchitecture
from ollmlx.convert.shards import Shards
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.gguf import Gguf
from ollmlx.store.appearing import TargetInTheWay
from ollmlx.store.ollama.blobs import NoRoom
from tests.convert.running import TOKENS, difference, logits_of_mlx
from tests.convert.tinies import GEMMA3
from tests.convert.tiny import Tiny, contents, write_gguf, write_tiny
from tests.toy import TEMPLATE, ToyModels


class Usage(NamedTuple):
    free: int


def test_weights_are_the_same_but_for_their_type(toy: ToyModels, tmp_path: Path) -> None:
    result = convert(toy.gguf, tmp_path / "out")
    assert result.dtype == "float16"
    assert result.requantised == {}
    ours, theirs = (mx.load(str(f / "model.safetensors")) for f in (tmp_path / "out", toy.mlx))
    assert ours.keys() == theirs.keys()
    assert all(mx.array_equal(ours[name], theirs[name].astype(mx.float16)) for name in ours)


def test_quantised_weights_stay_quantised_and_mean_the_same(toy: ToyModels, tmp_path: Path) -> None:
    convert(toy.gguf_q8, tmp_path / "out")
    packed = mx.load(str(tmp_path / "out" / "model.safetensors"))
    module = "model.layers.0.mlp.down_proj"
    parts = [packed[f"{module}.{part}"].astype(mx.float32) for part in ("scales", "biases")]
    found = mx.dequantize(packed[f"{module}.weight"], *parts, group_size=32, bits=8)
    given = mx.load(str(toy.mlx / "model.safetensors"))[f"{module}.weight"]
    assert packed[f"{module}.weight"].dtype == mx.uint32
    assert float(mx.abs(found - given).max()) < float(mx.abs(given).max()) / 127
    ours, theirs = logits_of_mlx(tmp_path / "out", TOKENS), logits_of_mlx(toy.mlx, TOKENS)
    assert difference(ours, theirs) < 0.05


def test_the_result_says_what_was_made(toy: ToyModels, tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []
    result = convert(toy.gguf_q8, tmp_path / "out", lambda *told: heard.append(told))
    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert result.architecture == "llama"
    assert 0 < size - result.bytes < 10_000
    assert result.arrays == len(mx.load(str(tmp_path / "out" / "model.safetensors")))
    fractions = [fraction for stage, fraction in heard if stage == "weights"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert heard[-1] == ("saving", 1.0)


def test_requantised_tensors_are_told(tmp_path: Path, vocabulary: dict[str, Any]) -> None:
    tiny = Tiny("llama", {"embedding_length": 256, "rope.dimension_count": 64})
    write_tiny(tmp_path / "tiny.gguf", tiny, vocabulary)
    meta, tensors = contents(tmp_path / "tiny.gguf")
    name = "token_embd.weight"
    tensors[name] = np.zeros((len(tensors[name]), 210), np.uint8)
    write_gguf(tmp_path / "q6.gguf", meta, tensors, {name: "Q6_K"})
    result = convert(tmp_path / "q6.gguf", tmp_path / "out")
    assert result.requantised == {name: "Q6_K"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization"] == {"group_size": 32, "bits": 8, "mode": "affine"}


def test_text_is_treated_alike(toy: ToyModels, tmp_path: Path) -> None:
    convert(toy.gguf, tmp_path / "out")
    ours, theirs = (
        Tokenizer.from_file(str(f / "tokenizer.json")) for f in (tmp_path / "out", toy.mlx)
    )
    for text in ("Hello there! 😀", "<|im_start|>user\n<think>", "  \t\n\n x", "привет"):
        assert ours.encode(text).ids == theirs.encode(text).ids
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == TEMPLATE
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    ends = [
        Gguf(toy.gguf).meta["tokenizer.ggml.tokens"].index(t)
        for t in ("<|endoftext|>", "<|im_end|>")
    ]
    assert config["eos_token_id"] == ends
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == ends


def test_recommended_sampling_is_kept(toy: ToyModels, tmp_path: Path) -> None:
    meta, tensors = contents(toy.gguf)
    meta |= {"general.sampling.temp": 0.5, "general.sampling.top_k": 20}
    write_gguf(tmp_path / "in.gguf", meta, tensors)
    convert(tmp_path / "in.gguf", tmp_path / "out")
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (generation["temperature"], generation["top_k"]) == (0.5, 20)


def test_large_models_are_written_in_shards(tmp_path: Path) -> None:
    shards = Shards(tmp_path, shard_bytes=1000)
    for number in range(5):
        shards.add({f"{number}.weight": mx.full((100,), number), f"{number}.bias": mx.zeros(1)})
    assert not list(tmp_path.glob("model*"))
    shards.close()
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == shards.total_bytes == 5 * 404
    assert sorted(set(index["weight_map"].values())) == [
        f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)
    ]
    for name, file in index["weight_map"].items():
        assert name in mx.load(str(tmp_path / file))


def test_bfloat16_files_keep_their_range(toy: ToyModels, tmp_path: Path) -> None:
    import gguf

    meta, tensors = contents(toy.gguf)
    name = "blk.0.ffn_up.weight"
    large = np.full_like(tensors[name], 1e6)
    tensors[name] = gguf.quants.quantize(large, gguf.GGMLQuantizationType.BF16)
    write_gguf(tmp_path / "in.gguf", meta, tensors, {name: "BF16"})
    assert convert(tmp_path / "in.gguf", tmp_path / "out").dtype == "bfloat16"
    with pytest.raises(NotConvertible, match=r"blk\.0\.ffn_up\.weight .* float16"):
        convert(tmp_path / "in.gguf", tmp_path / "half", dtype="float16")
    assert not (tmp_path / "half").exists()


def test_an_unknown_architecture_is_named_with_those_that_are_known(
    toy: ToyModels, tmp_path: Path
) -> None:
    meta, tensors = contents(toy.gguf)
    write_gguf(tmp_path / "in.gguf", meta | {"general.architecture": "mamba"}, tensors)
    with pytest.raises(UnsupportedArchitecture, match=r"'mamba'.*gemma3.*llama.*qwen3"):
        convert(tmp_path / "in.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def changed(toy: ToyModels, path: Path, change: str) -> Path:
    meta, tensors = contents(toy.gguf)
    match change:
        case "missing":
            del tensors["blk.1.ffn_up.weight"]
        case "unused":
            tensors["blk.1.ffn_sideways.weight"] = np.zeros((2, 2), np.float32)
        case "size":
            tensors["blk.1.ffn_up.weight"] = np.zeros((7, 64), np.float32)
        case "blocks":
            meta["llama.block_count"] = 2**31 - 1
        case "no heads":
            meta["llama.attention.head_count"] = 0
        case "text for a number":
            meta["llama.embedding_length"] = "wide"
        case "without a width":
            del meta["llama.feed_forward_length"]
        case "tokens":
            meta["tokenizer.ggml.tokens"] = [*meta["tokenizer.ggml.tokens"], "one more"]
            meta["tokenizer.ggml.token_type"] = [*meta["tokenizer.ggml.token_type"], 1]
        case "merge":
            meta["tokenizer.ggml.merges"] = ["never heard"]
        case "pre":
            meta["tokenizer.ggml.pre"] = "../../etc/passwd"
        case "scaling":
            meta["llama.rope.scaling.type"] = "dynamic"
        case "part":
            meta["split.count"] = 3
        case "not finite":
            tensors["output_norm.weight"] = np.full(64, np.nan, np.float32)
    write_gguf(path, meta, tensors)
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("missing", r"no tensor for model\.layers\.1\.mlp\.up_proj\.weight"),
        ("unused", r"no parameter for blk\.1\.ffn_sideways\.weight"),
        ("size", r"blk\.1\.ffn_up\.weight is \(7, 64\), and MLX expects \(128, 64\)"),
        ("blocks", "block_count is 2147483647, with 21 tensors"),
        ("no heads", "attention.head_count is 0"),
        ("text for a number", "embedding_length is 'wide'"),
        ("without a width", "no llama.feed_forward_length"),
        ("tokens", "353 tokens do not fit 352"),
        ("merge", "the merge 'never heard'"),
        ("pre", "pre-tokenizer '../../etc/passwd'"),
        ("scaling", "rotary scaling 'dynamic'"),
        ("part", "one of 3 parts"),
        ("not finite", r"output_norm\.weight holds values"),
    ],
)
def test_a_file_that_makes_no_model_is_refused_and_leaves_nothing(
    toy: ToyModels, tmp_path: Path, change: str, told: str
) -> None:
    source = changed(toy, tmp_path / "in.gguf", change)
    with pytest.raises(NotConvertible, match=told):
        convert(source, tmp_path / "models" / "out")
    assert not list(tmp_path.glob("models/*"))


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.gguf").write_bytes(b"<html>" * 100)
    with pytest.raises(OllmlxError, match="not a GGUF"):
        convert(tmp_path / "in.gguf", tmp_path / "out")
    with pytest.raises(BadRequest, match="not a GGUF"):
        convert(tmp_path, tmp_path / "out")


def test_a_model_in_the_way_stays_unless_it_may_be_replaced(toy: ToyModels, tmp_path: Path) -> None:
    convert(toy.gguf, tmp_path / "out")
    with pytest.raises(TargetInTheWay):
        convert(toy.gguf_q8, tmp_path / "out")
    convert(toy.gguf_q8, tmp_path / "out", replace=True)
    assert "quantization" in json.loads((tmp_path / "out" / "config.json").read_text())


def test_an_interrupted_conversion_leaves_nothing(toy: ToyModels, tmp_path: Path) -> None:
    def interrupt(stage: str, fraction: float) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(toy.gguf, tmp_path / "models" / "out", interrupt)
    assert not list(tmp_path.glob("models/*"))


def test_a_disk_that_is_too_full_is_told_first(
    toy: ToyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No test can have a full disk.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=1000))
    with pytest.raises(NoRoom, match="not enough space"):
        convert(toy.gguf, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_a_write_that_fails_half_way_leaves_nothing(toy: ToyModels, tmp_path: Path) -> None:
    program = (
        "import resource\n"
        "from ollmlx.convert import convert\n"
        "from ollmlx.store.ollama.blobs import CannotStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"try: convert({str(toy.gguf)!r}, {str(tmp_path / 'out')!r})\n"
        "except CannotStore as error: print(error)\n"
    )
    assert "cannot be written" in in_python(program)
    assert not list(tmp_path.iterdir())


def test_gemma_is_kept_from_overflowing(tmp_path: Path, vocabulary: dict[str, Any]) -> None:
    write_tiny(tmp_path / "tiny.gguf", Tiny("gemma3", GEMMA3), vocabulary)
    assert convert(tmp_path / "tiny.gguf", tmp_path / "out").dtype == "bfloat16"


def in_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_without_mlx_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['mlx'] = None\n"
        "from ollmlx.convert import convert\n"
        "from ollmlx.errors import Unavailable\n"
        "try: convert('in', 'out')\n"
        "except Unavailable as error: print(error)\n"
    )
    assert "pip install 'ollmlx[mlx]'" in in_python(program)
