"""The bytes of a GGUF's header: values, keys and the table of tensors.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from collections.abc import Mapping, Sequence

from ollmlx.gguf import TYPES, TensorInfo

Value = bool | int | float | str | bytes | Sequence["Value"]
_NUMBERS = {name: number for number, (name, _, _) in TYPES.items()}
_U8, _I32, _TEXT, _ARRAY = 0, 5, 8, 9
_ARRAY_OPENING = struct.Struct("<IIQ")


def encoded(value: Value) -> bytes:
    """A metadata value with its type: numbers in 32 bits, whole ones unsigned; bytes as uint8s.

    Whole numbers of an array are signed: llama.cpp and its mtmd read both.
    """
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", _TEXT) + counted(value)
        case bytes():
            return _ARRAY_OPENING.pack(_ARRAY, _U8, len(value)) + value
        case _:
            return _array(value)


def counted(text: str) -> bytes:
    """A text behind the number of its bytes, as the format has names."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def cut(value: bytes, count: int) -> bytes:
    """The first `count` items of an encoded array; anything else, and a shorter one, as it is."""
    kind, item, length = _ARRAY_OPENING.unpack_from(value.ljust(_ARRAY_OPENING.size))
    if kind != _ARRAY or length <= count:
        return value
    end = _ARRAY_OPENING.size
    if item == _TEXT:
        for _ in range(count):
            end += 8 + struct.unpack_from("<Q", value, end)[0]
    else:
        end += (len(value) - end) // length * count
    return _ARRAY_OPENING.pack(kind, item, count) + value[_ARRAY_OPENING.size : end]


def laid_out(
    keys: Mapping[str, bytes], tensors: Sequence[TensorInfo], alignment: int
) -> tuple[bytes, list[int]]:
    """A whole header, and the byte of the file where the data of each tensor belongs.

    Keys are encoded already.  The tensors' own offsets are not read.
    """
    head = [b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))]
    head += (counted(name) + value for name, value in keys.items())
    at, starts = 0, []
    for tensor in tensors:
        shape = tensor.shape[::-1]
        head.append(counted(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        head.append(struct.pack("<IQ", _NUMBERS[tensor.type], at))
        starts.append(at)
        at += _aligned(tensor.size, alignment)
    whole = b"".join(head)
    base = _aligned(len(whole), alignment)
    return whole, [base + start for start in starts]


def _array(items: Sequence[Value]) -> bytes:
    if all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        return _ARRAY_OPENING.pack(_ARRAY, _I32, len(items)) + struct.pack(
            f"<{len(items)}i", *items
        )
    each = [encoded(item) for item in items]
    return (
        struct.pack("<I", _ARRAY)
        + each[0][:4]
        + struct.pack("<Q", len(each))
        + b"".join(item[4:] for item in each)
    )


def _aligned(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment
