"""Every architecture, in small: MLX and llama.cpp give the same logits for the same file."""

from pathlib import Path
from typing import Any

import gguf
import pytest

from ollmlx.convert import convert
from ollmlx.convert.architectures import ARCHITECTURES
from tests.convert.running import TOKENS, difference, logits_of_llama, logits_of_mlx
from tests.convert.tinies import APPROXIMATE, QUANTISED, TINIES
from tests.convert.tiny import Tiny, contents, write_gguf, write_tiny


@pytest.mark.parametrize("tiny", TINIES, ids=lambda tiny: tiny.arch)
def test_logits_are_llama_cpps(tiny: Tiny, vocabulary: dict[str, Any], tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", tiny, vocabulary)
    convert(tmp_path / "tiny.gguf", tmp_path / "mlx", dtype="float32")
    ours = logits_of_mlx(tmp_path / "mlx", TOKENS)
    theirs = logits_of_llama(tmp_path / "tiny.gguf", TOKENS)
    assert difference(ours, theirs) < (1e-3 if tiny.arch in APPROXIMATE else 1e-5)


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_1", "Q8_0", "MXFP4"])
@pytest.mark.parametrize("tiny", QUANTISED, ids=lambda tiny: tiny.arch)
def test_quantised_files_are_the_numbers_they_stand_for(
    tiny: Tiny, kind: str, vocabulary: dict[str, Any], tmp_path: Path
) -> None:
    write_tiny(tmp_path / "tiny.gguf", tiny, vocabulary)
    meta, tensors = contents(tmp_path / "tiny.gguf")
    number = gguf.GGMLQuantizationType[kind]
    matrices = [name for name, x in tensors.items() if x.ndim > 1 and "conv" not in name]
    packed = {name: gguf.quants.quantize(tensors[name], number) for name in matrices}
    numbers = {name: gguf.quants.dequantize(packed[name], number) for name in matrices}
    write_gguf(tmp_path / "packed.gguf", meta, tensors | packed, dict.fromkeys(matrices, kind))
    write_gguf(tmp_path / "numbers.gguf", meta, tensors | numbers)
    for name in ("packed", "numbers"):
        convert(tmp_path / f"{name}.gguf", tmp_path / name, dtype="float32")
    ours, theirs = (logits_of_mlx(tmp_path / name, TOKENS) for name in ("packed", "numbers"))
    assert difference(ours, theirs) < 1e-5


def test_no_architecture_goes_untried() -> None:
    assert {tiny.arch for tiny in TINIES} == set(ARCHITECTURES)
