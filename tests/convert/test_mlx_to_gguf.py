"""The way back: a folder becomes a GGUF that expects the same and reads text the same."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from ollmlx.convert import convert, export
from ollmlx.convert.refusals import NotConvertible
from ollmlx.convert.verification import difference
from ollmlx.gguf import Gguf
from ollmlx.store.appearing import TargetInTheWay
from tests.toy import ToyModels

SAME = ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.eos_token_id")


async def test_a_folder_becomes_a_gguf_without_loss(toy: ToyModels, tmp_path: Path):
    target = tmp_path / "back.gguf"
    await asyncio.to_thread(export, toy.mlx, target)
    found = await difference(toy.mlx, target)
    assert found is not None
    assert found.divergence < 1e-5
    left, right = Gguf(toy.gguf), Gguf(target)
    assert {name: left.meta[name] for name in SAME} == {name: right.meta[name] for name in SAME}
    for name, tensor in left.tensors.items():
        assert (tensor.data == right.tensors[name].data).all(), name
    assert os.listdir(tmp_path) == [target.name]


async def test_packed_weights_are_unpacked(toy: ToyModels, tmp_path: Path):
    folder, target = tmp_path / "mlx", tmp_path / "back.gguf"
    await asyncio.to_thread(convert, toy.gguf_q8, folder)
    await asyncio.to_thread(export, folder, target)
    found = await difference(folder, target)
    assert found is not None
    assert found.divergence < 1e-3


def changed(toy: ToyModels, folder: Path, name: str, **values: object) -> Path:
    shutil.copytree(toy.mlx, folder)
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**document, **values}))
    return folder


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"model_type": "mamba"}, "'mamba' cannot be converted to GGUF"),
        (
            "config.json",
            {"rope_scaling": {"rope_type": "yarn", "type": "yarn", "factor": 2.0}},
            "rotary scaling 'yarn' cannot",
        ),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "has no name for the pre-"),
    ],
)
def test_what_has_no_place_in_a_gguf_is_refused(toy, tmp_path, name, values, message):
    folder = changed(toy, tmp_path / "mlx", name, **values)
    with pytest.raises(NotConvertible, match=message):
        export(folder, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_a_file_in_the_way_is_kept(toy, tmp_path):
    target = tmp_path / "there.gguf"
    target.write_text("mine")
    with pytest.raises(TargetInTheWay):
        export(toy.mlx, target)
    assert target.read_text() == "mine"
