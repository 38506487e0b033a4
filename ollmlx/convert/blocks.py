"""GGUF's quantised blocks in MLX's packed form, code for code.

MLX keeps the codes of a row in little-endian 32-bit words, and for every 32 of them a scale and a
bias: `weight = scale * code + bias`.  The block types of `FORMS` are of that kind and are repacked,
never dequantised.  The others have groups of 16 or no linear form; `REQUANTISED` says how many bits
they get when MLX quantises them anew.
Source: `ggml-common.h` and `ggml-quants.c` of llama.cpp.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ollmlx.convert.refusals import NotConvertible

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

GROUP = 32
"""Weights a scale: the size of every GGUF block or sub-block that MLX can hold."""

REQUANTISED = {
    "Q6_K": 8,
    "Q3_K": 6,
    "IQ3_S": 6,
    "Q2_K": 5,
    "IQ3_XXS": 5,
    "IQ2_S": 5,
    "IQ2_XS": 5,
    "IQ2_XXS": 5,
    "IQ1_S": 4,
    "IQ1_M": 4,
    "TQ1_0": 4,
    "TQ2_0": 4,
}
"""Bits of MLX's own affine form.  They add 0.5 % (8), 1.9 % (6), 4 % (5), 8 % (4) of error."""


@dataclass(frozen=True)
class Codes:
    """Rows as small integers: `weight = scales * values + biases`, or MXFP4's table."""

    values: Bytes
    """(rows, n), each below 2 ** bits."""
    scales: Floats | Bytes
    """(rows, n / 32); MXFP4: the exponent byte E8M0."""
    biases: Floats | None
    """None in MXFP4."""


@dataclass(frozen=True)
class Form:
    block_bytes: int
    bits: int
    read: Callable[[Bytes], Codes]
    """From blocks, (rows, blocks, bytes a block)."""
    mode: str = "affine"


def half(data: Bytes) -> Floats:
    """Little-endian float16 pairs of bytes, (…, 2k), as (…, k) float32."""
    return np.ascontiguousarray(data).view("<f2").astype(np.float32)


def nibbles(data: Bytes) -> NDArray[Any]:
    """(…, 16) bytes as (…, 32) codes: all low halves, then all high halves."""
    return np.concatenate([data & 0x0F, data >> 4], axis=-1)


def rows(values: NDArray[Any]) -> Bytes:
    """Codes of any integer type, (rows, …), as (rows, n) bytes."""
    return values.reshape(len(values), -1).astype(np.uint8, copy=False)


def _q4_0(blocks: Bytes) -> Codes:
    scale = half(blocks[..., :2])[..., 0]
    return Codes(rows(nibbles(blocks[..., 2:18])), scale, -8 * scale)


def _q4_1(blocks: Bytes) -> Codes:
    scale = half(blocks[..., :4])
    return Codes(rows(nibbles(blocks[..., 4:20])), scale[..., 0], scale[..., 1])


def _five_bits(blocks: Bytes) -> Bytes:
    """The last 20 bytes of a Q5_0 or Q5_1 block: 32 high bits in order, then 32 low nibbles."""
    high = np.unpackbits(blocks[..., -20:-16], axis=-1, bitorder="little")
    return rows(nibbles(blocks[..., -16:]) | (high << 4))


def _q5_0(blocks: Bytes) -> Codes:
    scale = half(blocks[..., :2])[..., 0]
    return Codes(_five_bits(blocks), scale, -16 * scale)


def _q5_1(blocks: Bytes) -> Codes:
    scale = half(blocks[..., :4])
    return Codes(_five_bits(blocks), scale[..., 0], scale[..., 1])


def _q8_0(blocks: Bytes) -> Codes:
    scale = half(blocks[..., :2])[..., 0]
    # Flipping the sign bit of an int8 adds 128.
    return Codes(rows(blocks[..., 2:34] ^ 0x80), scale, -128 * scale)


def _k_scales(data: Bytes) -> tuple[Bytes, Bytes]:
    """The 12 bytes that hold 8 scales and 8 minima of 6 bits each."""
    low, middle, high = data[..., 0:4], data[..., 4:8], data[..., 8:12]
    scales = [low & 0x3F, (high & 0x0F) | ((low >> 2) & 0x30)]
    minima = [middle & 0x3F, (high >> 4) | ((middle >> 2) & 0x30)]
    return np.concatenate(scales, axis=-1), np.concatenate(minima, axis=-1)


def _k_codes(blocks: Bytes, values: NDArray[Any]) -> Codes:
    factors = half(blocks[..., :4])
    scales, minima = _k_scales(blocks[..., 4:16])
    scale = factors[..., 0:1] * scales
    bias = -factors[..., 1:2] * minima
    count = len(blocks)
    return Codes(rows(values), scale.reshape(count, -1), bias.reshape(count, -1))


def _k_nibbles(blocks: Bytes) -> NDArray[Any]:
    """The last 128 bytes: four times 32 low nibbles, then the 32 high nibbles of the same bytes."""
    packed = blocks[..., -128:].reshape(*blocks.shape[:2], 4, 1, 32)
    both = np.concatenate([packed & 0x0F, packed >> 4], axis=-2)
    return both.reshape(*blocks.shape[:2], 8, 32)


def _q4_k(blocks: Bytes) -> Codes:
    return _k_codes(blocks, _k_nibbles(blocks))


def _q5_k(blocks: Bytes) -> Codes:
    planes = blocks[..., 16:48].reshape(*blocks.shape[:2], 1, 32)
    high = (planes >> np.arange(8, dtype=np.uint8).reshape(8, 1)) & 1
    return _k_codes(blocks, _k_nibbles(blocks) | (high << 4))


IQ4_LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int16
)


def _iq4_values(indices: Bytes) -> Bytes:
    return rows((IQ4_LEVELS + 128).astype(np.uint8)[indices])


def _iq4_nl(blocks: Bytes) -> Codes:
    scale = half(blocks[..., :2])[..., 0]
    return Codes(_iq4_values(nibbles(blocks[..., 2:18])), scale, -128 * scale)


def _iq4_xs(blocks: Bytes) -> Codes:
    shape = blocks.shape[:2]
    high = np.ascontiguousarray(blocks[..., 2:4]).view("<u2")
    low = blocks[..., 4:8, None] >> np.array([0, 4], np.uint8) & 0x0F
    top = (high >> np.arange(0, 16, 2, dtype=np.uint16)) & 3
    factors = (low.reshape(*shape, 8) | (top << 4)).astype(np.float32) - 32
    scale = (half(blocks[..., :2]) * factors).reshape(len(blocks), -1)
    indices = nibbles(blocks[..., 8:136].reshape(*shape, 8, 16))
    return Codes(_iq4_values(indices), scale, -128 * scale)


def _mxfp4(blocks: Bytes) -> Codes:
    return Codes(rows(nibbles(blocks[..., 1:17])), np.ascontiguousarray(blocks[..., 0]), None)


FORMS = {
    "Q4_0": Form(18, 4, _q4_0),
    "Q4_1": Form(20, 4, _q4_1),
    "Q5_0": Form(22, 5, _q5_0),
    "Q5_1": Form(24, 5, _q5_1),
    "Q8_0": Form(34, 8, _q8_0),
    "MXFP4": Form(17, 4, _mxfp4, "mxfp4"),
    "IQ4_NL": Form(18, 8, _iq4_nl),
    "Q4_K": Form(144, 4, _q4_k),
    "Q5_K": Form(176, 5, _q5_k),
    "IQ4_XS": Form(136, 8, _iq4_xs),
}
"""Exact with float32 scales; those of the last three are products, which float16 rounds: 3e-4."""


def codes(data: Bytes, kind: str) -> Codes:
    """The rows of a tensor, (rows, bytes a row), whose type is in `FORMS`."""
    form = FORMS[kind]
    return form.read(data.reshape(len(data), -1, form.block_bytes))


def pack(values: Bytes, bits: int) -> NDArray[np.uint32]:
    """Codes, (rows, n), as a little-endian stream of words, (rows, n * bits / 32)."""
    return np.ascontiguousarray(_stream(values, bits)).view("<u4")


def _stream(values: Bytes, bits: int) -> NDArray[Any]:
    if bits == 8:
        return values
    if bits == 4:
        return values[:, 0::2] | (values[:, 1::2] << 4)
    return _eights(values, bits)


def _eights(values: Bytes, bits: int) -> Bytes:
    """Eight codes fill `bits` bytes; a 64-bit word gathers them."""
    count, width = values.shape
    gathered = np.zeros((count, width // 8), "<u8")
    for place in range(8):
        gathered |= values[:, place::8].astype(np.uint64) << np.uint64(bits * place)
    octets = gathered.view(np.uint8).reshape(count, width // 8, 8)
    return rows(octets[..., :bits])


def dequantise(data: Bytes, kind: str) -> Floats:
    """Rows of any type, (rows, bytes a row), as numbers, (rows, n)."""
    match kind:
        case "F32":
            return np.ascontiguousarray(data).view("<f4").astype(np.float32, copy=False)
        case "F16":
            return half(data)
    import gguf

    try:
        numbers = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind])
    except (KeyError, NotImplementedError) as error:
        raise NotConvertible(f"tensors of type {kind} cannot be converted to MLX") from error
    return np.asarray(numbers, np.float32)
