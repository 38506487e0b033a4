"""Structs → bytes as Go's `encoding/json` writes them."""

from datetime import UTC, datetime
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_encoder = msgspec.json.Encoder()
_sorting_encoder = msgspec.json.Encoder(order="sorted")
# These only stand inside JSON strings, so they can be replaced in the bytes.
_ESCAPES = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    "\u2028".encode(): b"\\u2028",
    "\u2029".encode(): b"\\u2029",
}


def encode(value: Any) -> bytes:
    body = _encoder.encode(value)
    for character, escape in _ESCAPES.items():
        if character in body:
            body = body.replace(character, escape)
    return body


def in_order(value: Any) -> msgspec.Raw:
    """With its keys in alphabetical order, as Go writes maps."""
    return msgspec.Raw(_sorting_encoder.encode(value))


def number(value: float) -> Any:
    """Go writes an integral float without `.0`, and powers of ten as 1e+21 and 0.000001."""
    size = abs(value)
    if value.is_integer() and size < 1e21:
        return int(value)
    if 1e-5 <= size < 1e16 or not isfinite(value):
        return value
    return msgspec.Raw(_shortest(np.float64(value)).encode())


def float32s(row: NDArray[np.float32]) -> msgspec.Raw:
    """A JSON array of float32 in the shortest text that reads back the same float32."""
    return msgspec.Raw(f"[{','.join(map(_shortest, row))}]".encode())


def _shortest(value: np.floating[Any]) -> str:
    size = abs(float(value))
    if size == 0:
        return "-0" if np.signbit(value) else "0"
    if 1e-6 <= size < 1e21:
        return np.format_float_positional(value, unique=True, trim="-")
    return np.format_float_scientific(value, unique=True, trim="-", exp_digits=1)


def now() -> str:
    """The present in UTC, RFC 3339."""
    return timestamp(datetime.now(UTC))


def timestamp(time: datetime) -> str:
    """RFC 3339 with trailing zeros of the fraction trimmed; UTC is written `Z`."""
    seconds, _, rest = time.isoformat(timespec="microseconds").partition(".")
    digits, zone = rest[:6].rstrip("0"), rest[6:]
    return f"{seconds}{'.' + digits if digits else ''}{'Z' if zone == '+00:00' else zone}"
