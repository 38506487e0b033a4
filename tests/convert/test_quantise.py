import json
from pathlib import Path

import pytest

from ollmlx.convert import convert, quantise
from ollmlx.convert.recipes import UnknownRecipe
from ollmlx.convert.verification import difference
from ollmlx.errors import OllmlxError
from ollmlx.store.appearing import TargetInTheWay
from tests.toy import ToyModels


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
