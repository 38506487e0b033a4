import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from ollmlx.gguf import BadGguf, Gguf, header
from tests.store.shelf import write_gguf

U32, U64 = struct.Struct("<I").pack, struct.Struct("<Q").pack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "m.gguf", llama__layers=[1, 2, 3], general__name="é")


def text(value: bytes) -> bytes:
    return U64(len(value)) + value


def a_header(body: bytes, tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + U32(version) + U64(tensors) + U64(keys) + body


def test_metadata_reads_back_as_written(path: Path) -> None:
    read = Gguf(path)
    assert read.arch == "llama"
    assert read.meta["general.name"] == "é"
    assert read.key("context_length") == 2048
    assert read.key("layers") == [1, 2, 3]
    assert read.key("no_such_key", 7) == 7
    assert read.meta["tokenizer.ggml.tokens"][1199] == "token 1199"


def test_a_float32_reads_as_the_shortest_number_that_means_it(path: Path) -> None:
    assert Gguf(path).key("attention.layer_norm_rms_epsilon") == 1e-5


def test_tensors_are_the_blocks_of_the_file_rows_first(path: Path) -> None:
    tensors = Gguf(path).tensors
    plain, packed = tensors["token_embd.weight"], tensors["output.weight"]
    assert (plain.type, plain.shape, plain.data.shape) == ("F32", (10, 64), (10, 256))
    assert np.array_equal(plain.data.view(np.float32).ravel(), np.arange(640, dtype=np.float32))
    assert (packed.type, packed.shape, packed.data.shape) == ("Q8_0", (4, 32), (4, 34))
    values = gguf.quants.dequantize(packed.data, gguf.GGMLQuantizationType.Q8_0)
    assert np.allclose(values, 1, atol=0.01)


def test_the_header_alone_steps_over_the_vocabulary_and_keeps_short_lists(path: Path) -> None:
    read = header(path)
    assert read.meta["tokenizer.ggml.tokens"] is None
    assert read.key("layers") == [1, 2, 3]
    assert read.parameter_count == 640 + 128


def test_a_file_cut_anywhere_is_an_error_and_not_a_crash(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    cut = tmp_path / "cut.gguf"
    end = len(whole) - 32  # what follows may be padding
    for size in [*range(400), *range(400, end, 997), end]:
        cut.write_bytes(whole[:size])
        with pytest.raises(BadGguf):
            header(cut)


def test_a_header_with_any_byte_wrong_is_read_or_refused(path: Path, tmp_path: Path) -> None:
    whole = bytearray(path.read_bytes())
    damaged = tmp_path / "damaged.gguf"
    refused = 0
    for at in range(400):
        for value in (0, 0xFF):
            damaged.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                Gguf(damaged)
            except BadGguf:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut short"),
        (b"PK\3\4" + bytes(40), "not a GGUF file"),
        (a_header(b"", version=1), "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(16), "big-endian"),
        (a_header(b"", tensors=1 << 60), "not believable"),
        (a_header(b"", keys=1 << 60), "not believable"),
        (a_header(U64(1 << 63), keys=1), "not believable"),
        (a_header(text(b"k") + U32(9) + U32(8) + U64(1 << 62), keys=1), "not believable"),
        (a_header(text(b"k") + U32(9) + U32(4) + U64(1 << 20), keys=1), "cut short"),
        (a_header(text(b"k") + U32(9) + U32(9) + U64(1), keys=1), "type 9 is unknown"),
        (a_header(text(b"k") + U32(77), keys=1), "type 77 is unknown"),
        (a_header((text(b"k") + U32(7) + b"\1") * 2, keys=2), "twice"),
        (a_header(text(b"t") + U32(9), tensors=1), "9 dimensions"),
        (a_header(text(b"t") + U32(1) + U64(1 << 63) + U32(0) + U64(0), tensors=1), "believable"),
        (a_header(text(b"t") + U32(1) + U64(33) + U32(8) + U64(0), tensors=1), "whole Q8_0"),
        (a_header(text(b"t") + U32(1) + U64(32) + U32(8) + U64(1 << 60), tensors=1), "cut short"),
        (a_header(text(b"general.alignment") + U32(4) + U32(0), keys=1), "power of two"),
    ],
)
def test_a_hostile_header_is_refused_saying_what_is_wrong(
    tmp_path: Path, data: bytes, why: str
) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(data)
    with pytest.raises(BadGguf, match=why):
        header(bad)


def test_a_tensor_of_an_unknown_type_can_be_listed_but_not_read(tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    path.write_bytes(a_header(text(b"t") + U32(1) + U64(32) + U32(99) + U64(0), 1) + bytes(64))
    assert header(path).tensors[0].type == "99"
    with pytest.raises(BadGguf, match="unknown type 99"):
        Gguf(path)
