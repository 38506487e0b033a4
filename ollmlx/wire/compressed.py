"""Request bodies that come compressed with zstd, and Ollama's texts for those it cannot read."""

import zstandard

from ollmlx.errors import Unreadable

MAX_SIZE = 20 << 20
"""Bytes of a body, decompressed."""
_MAX_WINDOW = 8 << 20
_PIECE = 256
"""Bytes at a time: no more than 8 MiB can come out of them, whoever made them."""
_MOST_FRAMES = 1000
"""Empty ones would keep a processor busy without ever becoming too large."""
_TEXTS = {
    "Unknown frame descriptor": "invalid input: magic number mismatch",
    "too much memory": "window size exceeded",
}


def decompress(body: bytes) -> bytes:
    """Any number of frames.  Blocks; raises `Unreadable`, also for what would exceed `MAX_SIZE`."""
    text, position, frames = bytearray(), 0, 0
    while position < len(body):
        frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
        while not frame.eof:
            piece = body[position : position + _PIECE]
            if not piece:
                raise Unreadable("unexpected EOF")
            text += _read(frame, piece)
            position += len(piece) - len(frame.unused_data)
            if len(text) > MAX_SIZE:
                raise Unreadable("http: request body too large")
        if (frames := frames + 1) > _MOST_FRAMES:
            raise Unreadable(f"invalid input: more than {_MOST_FRAMES} zstd frames")
    return bytes(text)


def _read(frame: "zstandard.ZstdDecompressionObj", piece: bytes) -> bytes:
    try:
        return frame.decompress(piece)
    except zstandard.ZstdError as error:
        known = (text for sign, text in _TEXTS.items() if sign in str(error))
        raise Unreadable(next(known, f"invalid input: {error}")) from error
