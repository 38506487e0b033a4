"""Headers are what the gguf package writes, and are read back."""

import numpy as np
import pytest

from ollmlx.gguf import Gguf, TensorInfo, raw_metadata
from ollmlx.gguf.writing import Value, cut, encoded, laid_out
from tests.convert.tiny import write_gguf

VALUES: dict[str, Value] = {
    "a.flag": True,
    "a.number": 7,
    "a.ratio": 0.5,
    "a.text": "zwölf",
    "a.flags": [True, False],
    "a.numbers": [1, -2, 3],
    "a.ratios": [0.5, 1.5],
    "a.texts": ["one", "", "drei"],
}


def test_values_are_encoded_as_the_gguf_package_does(tmp_path):
    path = tmp_path / "a.gguf"
    write_gguf(path, {"general.architecture": "a"} | VALUES, {"x": np.ones((2, 2), np.float32)})
    written = raw_metadata(path)
    assert {name: encoded(value) for name, value in VALUES.items()} == {
        name: written[name] for name in VALUES
    }


def test_a_header_is_read_back_with_its_tensors(tmp_path):
    keys = {name: encoded(value) for name, value in VALUES.items()}
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensors = [TensorInfo("x", "F32", (2, 3), 0, 12), TensorInfo("y", "F32", (3,), 0, 12)]
    head, starts = laid_out(keys, tensors, 32)
    path = tmp_path / "a.gguf"
    with path.open("wb") as file:
        file.write(head)
        for start, values in zip(starts, (rows, rows[0]), strict=True):
            assert start % 32 == 0
            file.seek(start)
            file.write(values.tobytes())
    read = Gguf(path)
    assert read.meta == VALUES
    assert np.array_equal(read.tensors["x"].data.view(np.float32), rows)
    assert np.array_equal(read.tensors["y"].data.view(np.float32), rows[0])


@pytest.mark.parametrize("name", ["a.texts", "a.numbers", "a.flags"])
def test_an_array_is_cut_behind_its_first_items(name):
    items = VALUES[name]
    assert isinstance(items, list)
    assert cut(encoded(items), 1) == encoded(items[:1])
    assert cut(encoded(items), 9) == encoded(items)


def test_what_is_no_array_is_not_cut():
    assert cut(encoded("text"), 1) == encoded("text")
