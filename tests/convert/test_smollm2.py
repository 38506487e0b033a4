"""The embedded model's MLX twin: whole, quick to make, and of the same mind as the GGUF."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ollmlx.convert import Conversion, convert
from tests.convert.running import logits_of_llama, logits_of_mlx, smollm2

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
