"""Bodies compressed with zstd: what Ollama takes, and its texts for the rest."""

import pytest
import zstandard

from ollmlx.errors import Unreadable
from ollmlx.wire.compressed import MAX_SIZE, decompress

TEXT = b'{"model": "x"}' * 500
FRAME = zstandard.compress(TEXT)


@pytest.mark.parametrize(
    ("body", "text"), [(b"", b""), (FRAME, TEXT), (FRAME + FRAME, TEXT + TEXT)]
)
def test_frames_are_read_to_their_end(body, text):
    assert decompress(body) == text


def test_as_much_as_is_allowed_is_read():
    assert decompress(zstandard.compress(b" " * MAX_SIZE)) == b" " * MAX_SIZE


def wide() -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(TEXT) + compressor.flush()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"garbage", "invalid input: magic number mismatch"),
        (FRAME + b"garbage", "invalid input: magic number mismatch"),
        (FRAME[:-1], "unexpected EOF"),
        (FRAME[:3], "unexpected EOF"),
        (zstandard.compress(b" " * (MAX_SIZE + 1)), "http: request body too large"),
        (zstandard.compress(b"") * 1001, "invalid input: more than 1000 zstd frames"),
        (wide(), "window size exceeded"),
    ],
    ids=["rubbish", "rubbish after", "cut", "cut early", "bomb", "endless", "wide"],
)
def test_what_cannot_be_read_is_refused_in_ollamas_words(body, problem):
    with pytest.raises(Unreadable) as caught:
        decompress(body)
    assert str(caught.value) == problem
