"""Repacked blocks give the same weights in MLX as `gguf` reads from the file."""

import gguf
import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from ollmlx.convert import blocks
from ollmlx.convert.refusals import NotConvertible

ROWS, COLUMNS = 6, 1024

HALVES = {
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "Q3_K": (108,),
    "Q2_K": (80, 82),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}
"""Where a block has its float16 factors: the rest may be any bytes."""


def quantised(kind: str) -> NDArray[np.uint8]:
    values = np.random.default_rng(1).standard_normal((ROWS, COLUMNS)).astype(np.float32)
    return gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])


def invented(kind: str) -> NDArray[np.uint8]:
    """Blocks of random bytes with believable factors, for types that `gguf` only reads."""
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    generator = np.random.default_rng(2)
    made = generator.integers(0, 256, (ROWS, COLUMNS // elements, size), np.uint8)
    for place in HALVES[kind]:
        factors = generator.uniform(0.001, 0.01, made.shape[:2]).astype(np.float16)
        made[..., place : place + 2] = factors[..., None].view(np.uint8)
    return made.reshape(ROWS, -1)


def in_mlx(data: NDArray[np.uint8], kind: str, scales: mx.Dtype) -> NDArray[np.float32]:
    codes, form = blocks.codes(data, kind), blocks.FORMS[kind]
    words = mx.array(blocks.pack(codes.values, form.bits))
    if codes.biases is None:
        exponents = mx.array(codes.scales)
        numbers = mx.dequantize(words, exponents, group_size=32, bits=form.bits, mode=form.mode)
        return np.array(numbers.astype(mx.float32))
    # Rounded to what the file stores, then widened: the products themselves are exact.
    parts = [mx.array(x).astype(scales).astype(mx.float32) for x in (codes.scales, codes.biases)]
    return np.array(mx.dequantize(words, *parts, group_size=32, bits=form.bits))


def reference(data: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind])


def error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_simple_blocks_are_exact_with_float16_scales(kind: str) -> None:
    data = quantised(kind)
    assert np.array_equal(in_mlx(data, kind, mx.float16), reference(data, kind))


def test_mxfp4_is_exact() -> None:
    data = quantised("MXFP4")
    assert np.array_equal(in_mlx(data, "MXFP4", mx.float16), reference(data, "MXFP4"))


def test_iq4_nl_is_exact_with_float16_scales() -> None:
    data = invented("IQ4_NL")
    assert np.array_equal(in_mlx(data, "IQ4_NL", mx.float16), reference(data, "IQ4_NL"))


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "IQ4_XS"])
def test_blocks_of_products_are_exact_with_float32_scales(kind: str) -> None:
    data = invented(kind)
    assert error(in_mlx(data, kind, mx.float32), reference(data, kind)) < 1e-7


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "IQ4_XS"])
def test_blocks_of_products_are_close_with_float16_scales(kind: str) -> None:
    data = invented(kind)
    assert error(in_mlx(data, kind, mx.float16), reference(data, kind)) < 3e-4


@pytest.mark.parametrize(("kind", "bound"), [("Q6_K", 0.01), ("Q3_K", 0.03), ("Q2_K", 0.06)])
def test_blocks_without_a_form_lose_little_when_requantised(kind: str, bound: float) -> None:
    numbers = blocks.dequantise(invented(kind), kind)
    bits = blocks.REQUANTISED[kind]
    again = mx.dequantize(*mx.quantize(mx.array(numbers), 32, bits), 32, bits)
    assert error(np.array(again), numbers) < bound


@pytest.mark.parametrize("bits", [4, 5, 8])
def test_packed_codes_come_out_of_mlx_as_they_went_in(bits: int) -> None:
    values = np.random.default_rng(3).integers(0, 1 << bits, (4, 64)).astype(np.uint8)
    words = mx.array(blocks.pack(values, bits))
    unpacked = mx.dequantize(words, mx.ones((4, 2)), mx.zeros((4, 2)), 32, bits)
    assert np.array_equal(np.array(unpacked), values)


def test_dense_types_are_read_as_they_are() -> None:
    values = np.random.default_rng(4).standard_normal((3, 8)).astype(np.float32)
    assert np.array_equal(blocks.dequantise(values.view(np.uint8), "F32"), values)
    halves = values.astype(np.float16)
    assert np.array_equal(blocks.dequantise(halves.view(np.uint8), "F16"), halves)
    brains = gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16)
    assert error(blocks.dequantise(brains, "BF16"), values) < 4e-3


def test_a_type_that_nobody_reads_is_refused() -> None:
    with pytest.raises(NotConvertible, match="type I32"):
        blocks.dequantise(np.zeros((1, 8), np.uint8), "I32")
