"""Folders of weights quantised, for text and for pictures."""

import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from ollmlx.convert import convert, quantise
from ollmlx.convert.recipes import UnknownRecipe
from ollmlx.convert.verification import difference
from ollmlx.engine.jobs import Generate, LoadOptions, Medium, Sampling
from ollmlx.engine.mlx.backend import MlxBackend
from ollmlx.errors import OllmlxError, Unavailable
from ollmlx.store.appearing import TargetInTheWay
from tests.engine.answers import answer
from tests.toy import ToyModels
from tests.toy_vision import picture


async def test_a_gguf_is_quantised_on_its_way(toy: ToyModels, tmp_path: Path):
    heard: list[tuple[str, float]] = []
    target = tmp_path / "made"
    done = convert(
        toy.gguf, target, lambda *told: heard.append(told), "float32", quantize="int8-g32"
    )
    config = json.loads((target / "config.json").read_text())
    assert (config["quantization"]["bits"], config["quantization"]["group_size"]) == (8, 32)
    (weights,) = target.glob("*.safetensors")
    assert done.bytes == weights.stat().st_size < toy.gguf.stat().st_size / 2
    assert (target / "tokenizer.json").is_file()
    stages = list(dict.fromkeys(stage for stage, _ in heard))
    assert stages == ["tokenizer", "weights", "saving", "quantising"]
    assert heard[-1] == ("saving", 1.0)
    found = await difference(toy.gguf, target)
    assert found is not None
    assert found.divergence < 0.02


def test_what_cannot_be_is_refused_and_leaves_nothing(toy: ToyModels, tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipe, match="INT9"):
        convert(toy.gguf, tmp_path / "made", quantize="INT9")
    with pytest.raises(OllmlxError, match="only supported for F16, BF16 and F32 models"):
        convert(toy.gguf_q8, tmp_path / "made", quantize="int4")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text("{}")
    with pytest.raises(TargetInTheWay):
        quantise(toy.mlx, tmp_path / "there", "int8")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("family", "name"), [("gemma3", "mixed_4_6"), ("qwen2_5_vl", "int8-g32"), ("smolvlm", "F32")]
)
def test_what_a_model_sees_through_stays_as_it_is(family: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("mlx_vlm", reason="MLX models see through mlx-vlm, of the extra `vision`")
    from tests.toy_mlx_vision import make_seeing_mlx

    source, made = make_seeing_mlx(tmp_path / "source", family), tmp_path / "made"
    quantise(source, made, name)
    before, after = tensors(source), tensors(made)
    eyes = [tensor for tensor in before if not tensor.startswith("language_model.")]
    assert eyes
    assert all(np.array_equal(before[tensor], after[tensor]) for tensor in eyes)
    assert any(tensor.endswith(".scales") for tensor in after) == (name != "F32")
    said = shown(made)
    assert len(said) == 8
    assert said == shown(source) or name != "F32"


def test_without_mlx_vlm_nothing_is_lost_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlx_vlm", reason="MLX models see through mlx-vlm, of the extra `vision`")
    from tests.toy_mlx_vision import make_seeing_mlx

    source = make_seeing_mlx(tmp_path / "source", "gemma3")
    monkeypatch.setitem(sys.modules, "mlx_vlm", None)  # as if it were not installed
    with pytest.raises(Unavailable, match=r"pip install 'ollmlx\[vision\]'"):
        quantise(source, tmp_path / "made", "int8")
    assert not (tmp_path / "made").exists()


def tensors(folder: Path) -> dict[str, Any]:
    (weights,) = folder.glob("*.safetensors")
    return {name: np.array(array) for name, array in mx.load(str(weights)).items()}


def shown(folder: Path) -> list[int]:
    """What the model says of a picture."""
    backend = MlxBackend(str(folder), LoadOptions(num_ctx=512), lambda fraction: None)
    (looked,) = backend.look([picture(1)])
    prompt = [*backend.tokenize("hi ", False), *looked, *backend.tokenize(" there", False)]
    free = Sampling(temperature=0, logit_bias=dict.fromkeys(backend._words.ends, -100.0))
    job = Generate(1, prompt, 8, free, media=[Medium(picture(1), looked)])
    try:
        return answer(backend, job).tokens
    finally:
        backend.close()
