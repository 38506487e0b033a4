"""Images of all kinds become the bytes of a file."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from IPython.display import Image as Shown
from PIL import Image

from ollmlx.notebook.errors import Misused
from ollmlx.notebook.images import encoded, named
from tests.stand_in import StandIn

RED = np.zeros((2, 3, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


def pixels(file: bytes, mode: str = "RGB") -> Any:
    return np.asarray(Image.open(io.BytesIO(file)).convert(mode))


@pytest.mark.parametrize(
    "array",
    [RED, RED / 255, RED.astype(np.int64), np.dstack([RED, np.full((2, 3), 255)]), RED > 0],
    ids=["bytes", "fractions", "integers", "with alpha", "booleans"],
)
def test_an_array_is_the_picture_that_it_holds(array: Any):
    assert np.array_equal(pixels(encoded(array)), RED)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_an_array_without_colours_is_grey(shape: tuple[int, ...]):
    grey = np.arange(6, dtype=np.uint8).reshape(shape)
    assert np.array_equal(pixels(encoded(grey), "L"), grey.reshape(2, 3))


@pytest.mark.parametrize(
    ("array", "refusal"),
    [
        (np.zeros(3), "has the shape"),
        (np.zeros((2, 2, 7)), "has the shape"),
        (np.zeros((0, 2)), "has the shape"),
        (np.full((2, 2), 256), "outside 0 to 255"),
        (np.full((2, 2), 1.5), "outside 0 to 1"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array: Any, refusal: str):
    with pytest.raises(Misused, match=refusal):
        encoded(array, "it")


def test_pictures_of_other_libraries_are_taken():
    figure = matplotlib.figure.Figure()
    axes = figure.subplots()
    assert pixels(encoded(figure)).shape == pixels(encoded(axes)).shape
    assert np.array_equal(pixels(encoded(Image.fromarray(RED))), RED)
    assert pixels(encoded(Image.fromarray(RED).convert("CMYK"))).shape == RED.shape
    assert encoded(Shown(data=b"file")) == encoded(io.BytesIO(b"file")) == b"file"
    assert encoded(bytearray(b"file")) == b"file"


def test_an_address_is_fetched(server: StandIn):
    there = f"{server.url}/api/version"
    assert (
        encoded(there) == encoded(Shown(url=there)) == named(there, {}) == b'{"version": "0.0.0"}'
    )
    with pytest.raises(Misused, match=r"it cannot be read: Client error .404 Not Found"):
        named(f"{server.url}/nowhere", {})


def test_a_name_is_a_variable_or_a_file(tmp_path: Path):
    (file := tmp_path / "a.png").write_bytes(b"file")
    assert named("mine", {"mine": b"bytes"}) == b"bytes"
    assert named(str(file), {}) == b"file"
    assert named("mine", {"mine": file}) == b"file"
    with pytest.raises(Misused, match="no variable is called so, and it cannot be read"):
        named("nowhere.png", {})
    with pytest.raises(Misused, match="mine is SimpleNamespace, not an image"):
        named("mine", {"mine": SimpleNamespace()})
