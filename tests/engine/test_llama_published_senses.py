"""Eyes inside a model's file, as Ollama's library has them, see what those in a second file see."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ollmlx.engine.jobs import LoadOptions, Medium
from ollmlx.engine.llama_media import Media
from ollmlx.engine.llama_model import Model
from ollmlx.gguf import Gguf
from tests.convert.running import smollm2
from tests.engine.published_eyes import EYES, Meta, write
from tests.toy_vision import picture


@pytest.fixture(scope="module")
def tokenizer() -> Meta:
    found = Gguf(smollm2()).meta
    meta = {name: value for name, value in found.items() if name.startswith("tokenizer.")}
    meta["tokenizer.ggml.tokens"][12] = "[IMG_BREAK]"
    return meta


@pytest.fixture
def seen() -> Iterator[Callable[[Path, Path], NDArray[np.float32]]]:
    """[tokens, width]: what a model sees through a projector."""
    opened: list[Any] = []

    def see(text: Path, projector: Path) -> NDArray[np.float32]:
        options = LoadOptions(num_gpu=0)
        opened.append(Model(str(text), options, lambda fraction: None))
        opened.append(Media(str(projector), opened[-1], options, 1))
        file = picture(3, 32, 32)
        pieces = opened[-1].encode(Medium(file, opened[-1].look(file))).result()
        return np.concatenate([piece.vectors for piece in pieces.values()])

    yield see
    for each in reversed(opened):
        each.close()


@pytest.mark.parametrize("family", EYES)
def test_eyes_inside_a_model_see_as_those_beside_it(
    family: str,
    tmp_path: Path,
    tokenizer: Meta,
    seen: Callable[[Path, Path], NDArray[np.float32]],
) -> None:
    files = write(tmp_path, EYES[family], tokenizer)
    ours, theirs = seen(files.text, files.projector), seen(files.both, files.both)
    assert np.isfinite(ours).all()
    assert ours.std() > 0
    assert np.array_equal(ours, theirs)
