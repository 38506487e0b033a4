"""Answers are written as Go's encoding/json writes them."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from ollmlx.wire.encode import encode, float32s, number, timestamp


def test_what_html_could_misread_is_escaped_and_other_letters_are_not():
    assert encode("<a href='&'>é\u2028/") == r'''"\u003ca href='\u0026'\u003eé\u2028/"'''.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1.0, "1"),
        (-0.0, "-0"),
        (1e-7, "1e-7"),
        (3.5e-6, "0.0000035"),
        (1e21, "1e+21"),
    ],
)
def test_float32_is_the_shortest_text_that_reads_back(value, text):
    assert bytes(float32s(np.array([value], np.float32))) == f"[{text}]".encode()


def test_whole_floats_have_no_point():
    assert encode([number(0.0), number(-1.5)]) == b"[0,-1.5]"


def test_times_are_rfc3339_with_the_zeros_trimmed():
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 120_000, UTC)) == "2026-01-02T03:04:05.12Z"
    west = timezone(timedelta(hours=-7))
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=west)) == "2026-01-02T03:04:05-07:00"
