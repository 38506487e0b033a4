"""Weights of 8 bits with scales beside them, in the forms that models are published in."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file

from ollmlx.convert.fp8 import write
from ollmlx.convert.refusals import NotConvertible
from tests.toy import ToyModels

BLOCK = [48, 32]
Arrays = dict[str, np.ndarray[Any, Any]]


def numbers(codes: Any) -> Any:
    """What the codes of E4M3 stand for: a sign, four bits of exponent, three of fraction."""
    exponent, fraction = (codes >> 3) & 15, (codes & 7) / 8
    size = np.where(exponent > 0, 2.0 ** (exponent - 7.0) * (1 + fraction), 2.0**-6 * fraction)
    return np.where(codes & 128, -size, size).astype(np.float32)


def scales(rows: int, columns: int) -> dict[str, Any]:
    down, along = -(-rows // BLOCK[0]), -(-columns // BLOCK[1])
    blocks = np.arange(1, down * along + 1, dtype=np.float32).reshape(down, along) / 64
    return {
        "block": ("_scale_inv", blocks),
        "row": ("_scale", np.arange(1, rows + 1, dtype=np.float32).reshape(rows, 1) / 64),
        "tensor": ("_scale", np.array(0.25, np.float32)),
    }


def spread(scale: Any, rows: int, columns: int) -> Any:
    if scale.ndim == 0 or scale.shape == (rows, 1):
        return scale
    return np.kron(scale, np.ones(BLOCK, np.float32))[:rows, :columns]


def make(folder: Path, toy: ToyModels, form: str) -> Arrays:
    """A folder as it is published; the numbers that it stands for."""
    shutil.copytree(toy.mlx, folder)
    (path,) = folder.glob("*.safetensors")
    files: dict[str, tuple[str, Any]] = {}
    meant: Arrays = {}
    for name, array in load_file(path).items():
        meant[name] = array
        files[name] = ("F32", array)
        if "proj" in name:
            codes = np.array(mx.to_fp8(mx.array(array * 4)))
            suffix, scale = scales(*array.shape)[form]
            files |= {name: ("F8_E4M3", codes), name + suffix: ("F32", scale)}
            files[name.replace("weight", "input_scale")] = ("F32", np.ones(1, np.float32))
            meant[name] = numbers(codes) * spread(scale, *array.shape)
    save(path, files)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": BLOCK}
    (folder / "config.json").write_text(json.dumps(config))
    return meant


def save(path: Path, arrays: dict[str, tuple[str, Any]]) -> None:
    header, at = {}, 0
    for name, (kind, array) in arrays.items():
        end = at + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for _, array in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("form", ["block", "row", "tensor"])
def test_codes_are_multiplied_with_their_scales(form: str, toy: ToyModels, tmp_path: Path) -> None:
    meant = make(tmp_path / "source", toy, form)
    write(tmp_path / "source", tmp_path / "plain")
    (path,) = (tmp_path / "plain").glob("*.safetensors")
    found: Any = mx.load(str(path))
    assert found.keys() == meant.keys()
    for name, array in meant.items():
        close = np.array(found[name].astype(mx.float32))
        np.testing.assert_allclose(close, array, rtol=2**-8)
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert "quantization_config" not in config
    assert (tmp_path / "plain" / "tokenizer.json").is_file()


def test_codes_without_scales_are_refused(toy: ToyModels, tmp_path: Path) -> None:
    make(tmp_path / "source", toy, "tensor")
    (path,) = (tmp_path / "source").glob("*.safetensors")
    save(path, {"a.weight": ("F8_E4M3", np.zeros((2, 2), np.uint8))})
    with pytest.raises(NotConvertible, match=r"a\.weight has no scales beside it"):
        write(tmp_path / "source", tmp_path / "plain")


def test_scales_that_do_not_fit_are_refused(toy: ToyModels, tmp_path: Path) -> None:
    make(tmp_path / "source", toy, "tensor")
    (path,) = (tmp_path / "source").glob("*.safetensors")
    codes, odd = np.zeros((64, 64), np.uint8), np.ones((3, 5), np.float32)
    save(path, {"a.weight": ("F8_E4M3", codes), "a.weight_scale_inv": ("F32", odd)})
    with pytest.raises(NotConvertible, match=r"of shape \(3, 5\), its blocks \[48, 32\]"):
        write(tmp_path / "source", tmp_path / "plain")
