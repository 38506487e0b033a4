"""The embedded model's MLX twin: whole, quick to make, and of the same mind as the GGUF."""

import json
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ollmlx.convert import Conversion, convert
from ollmlx.gguf import Gguf
from tests.convert.running import difference, logits_of_llama, logits_of_mlx, smollm2

pytestmark = pytest.mark.model

TEXT = "The capital of France is"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Conversion, Path]:
    folder = tmp_path_factory.mktemp("twin") / "mlx"
    return convert(smollm2(), folder), folder


@pytest.fixture(scope="module")
def tokens(twin: tuple[Conversion, Path]) -> list[int]:
    encoded: list[int] = Tokenizer.from_file(str(twin[1] / "tokenizer.json")).encode(TEXT).ids
    return encoded


def test_nothing_is_requantised_and_the_size_stays(twin: tuple[Conversion, Path]) -> None:
    result, folder = twin
    size = (folder / "model.safetensors").stat().st_size
    assert result.requantised == {}
    assert abs(size - smollm2().stat().st_size) < 0.01 * size
    config = json.loads((folder / "config.json").read_text())
    assert config["quantization"]["bits"] == 4
    assert config["quantization"]["model.embed_tokens"]["bits"] == 8


def numbers(path: Path) -> dict[str, mx.array]:
    """Every tensor of the file as `gguf` reads it, in the order of rows that the file has."""
    return {
        name: mx.array(
            gguf.quants.dequantize(tensor.data, gguf.GGMLQuantizationType[tensor.type])
            if tensor.type not in ("F32", "F16")
            else tensor.data.view(np.float32)
        )
        for name, tensor in Gguf(path).tensors.items()
    }


def halves(rows: mx.array, heads: int) -> mx.array:
    paired = rows.reshape(heads, -1, 2, rows.shape[-1])
    return paired.swapaxes(1, 2).reshape(rows.shape)


def dense_weights(path: Path) -> list[tuple[str, mx.array]]:
    given = numbers(path)
    found = {"model.embed_tokens": given["token_embd.weight"]}
    found["model.norm"] = given["output_norm.weight"]
    for layer in range(30):
        ours, theirs = f"model.layers.{layer}", f"blk.{layer}"
        found[f"{ours}.self_attn.q_proj"] = halves(given[f"{theirs}.attn_q.weight"], 9)
        found[f"{ours}.self_attn.k_proj"] = halves(given[f"{theirs}.attn_k.weight"], 3)
        for name, tensor in {
            "self_attn.v_proj": "attn_v",
            "self_attn.o_proj": "attn_output",
            "mlp.gate_proj": "ffn_gate",
            "mlp.up_proj": "ffn_up",
            "mlp.down_proj": "ffn_down",
            "input_layernorm": "attn_norm",
            "post_attention_layernorm": "ffn_norm",
        }.items():
            found[f"{ours}.{name}"] = given[f"{theirs}.{tensor}.weight"]
    return [(f"{name}.weight", array) for name, array in found.items()]


def test_logits_are_those_of_the_numbers_in_the_file(
    twin: tuple[Conversion, Path], tokens: list[int], tmp_path: Path
) -> None:
    config = json.loads((twin[1] / "config.json").read_text())
    del config["quantization"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    mx.save_safetensors(str(tmp_path / "model.safetensors"), dict(dense_weights(smollm2())))
    dense, _ = load_model(tmp_path)
    expected = np.array(dense(mx.array([tokens]))[0])
    assert difference(logits_of_mlx(twin[1], tokens), expected) < 1e-3


def divergence(p: NDArray[np.float32], q: NDArray[np.float32]) -> float:
    """Mean Kullback-Leibler divergence of two rows of logits, in nats."""
    p, q = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (p, q))
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def test_llama_cpp_expects_the_same_tokens(
    twin: tuple[Conversion, Path], tokens: list[int]
) -> None:
    theirs, ours = logits_of_llama(smollm2(), tokens), logits_of_mlx(twin[1], tokens)
    # llama.cpp rounds activations to 8 bits for such weights: it is this far from itself too.
    assert divergence(theirs, ours) < 0.02
