"""Images of a notebook as the bytes of a file, which is what the API takes."""

import io
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from ollmlx.notebook.errors import Misused

_PATIENCE_SECONDS = 30
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels → PNG's colour type: grey, grey with alpha, RGB, RGBA."""


def named(name: str, variables: Mapping[str, Any]) -> bytes:
    """`--image`: a variable, or else a file.  Raises `Misused`."""
    if name in variables:
        return encoded(variables[name], name)
    return _read(name, "--image {}: no variable is called so, and it")


def encoded(value: Any, name: str = "it") -> bytes:
    """Of bytes, a path, an address, a PIL image, a matplotlib figure or axes, whatever shows itself
    as PNG, or an array `[height, width]`, `[height, width, 1 to 4]` of bytes or of 0 to 1.

    Raises `Misused`.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, io.BytesIO):
        return value.getvalue()
    if isinstance(value, str | os.PathLike):
        return _read(os.fspath(value), f"{name}: {{}}")
    figure: Any = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if hasattr(figure, "savefig"):
        figure.savefig(file := io.BytesIO(), format="png")
        return file.getvalue()
    if isinstance(png := _drawn(value), bytes):
        return png
    if isinstance(data := getattr(value, "data", None), bytes):  # IPython.display.Image
        return data
    if isinstance(url := getattr(value, "url", None), str):  # the same, of an address
        return _read(url, f"{name}: {{}}")
    if hasattr(value, "__array__"):
        return _png(np.asarray(value), name)
    raise Misused(
        f"{name} is {type(value).__name__}, not an image: bytes, a file, a PIL image, "
        "a NumPy array or a matplotlib figure"
    )


def _drawn(value: Any) -> Any:
    """As PNG, where it can be drawn so; PIL's images in the colours of printers once converted."""
    if not callable(draw := getattr(value, "_repr_png_", None)):
        return None
    return draw() or (value.convert("RGB")._repr_png_() if hasattr(value, "convert") else None)


def _read(place: str, what: str) -> bytes:
    """A file, or what is at an address."""
    try:
        if place.startswith(("http://", "https://")):
            answer = httpx.get(place, follow_redirects=True, timeout=_PATIENCE_SECONDS)
            return answer.raise_for_status().content
        return Path(place).expanduser().read_bytes()
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        why = getattr(error, "strerror", "") or str(error).partition("\n")[0]
        shown = place if len(place) <= 100 else f"{place[:100]}…"
        raise Misused(f"{what.format(shown)} cannot be read: {why}") from error


def _png(array: NDArray[Any], name: str) -> bytes:
    """Portable Network Graphics, https://www.w3.org/TR/png-3/."""
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR or not pixels.size:
        raise Misused(
            f"{name} has the shape {array.shape}; an image has (height, width) or "
            "(height, width, 1 to 4)"
        )
    if pixels.dtype.kind == "f" and not (np.nanmin(pixels) >= 0 and np.nanmax(pixels) <= 1):
        raise Misused(f"{name} has numbers outside 0 to 1; bytes go from 0 to 255")
    if pixels.dtype.kind in "fb":
        pixels = np.rint(np.nan_to_num(pixels.astype(np.float64)) * 255)
    elif pixels.min() < 0 or pixels.max() > 255:
        raise Misused(f"{name} has numbers outside 0 to 255")
    height, width, channels = pixels.shape
    rows = pixels.astype(np.uint8).reshape(height, width * channels)
    unfiltered = np.insert(rows, 0, 0, axis=1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR[channels], 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(unfiltered)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
