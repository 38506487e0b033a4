"""Maths in a model's Markdown, as notebooks show it."""

import time

import pytest

from ollmlx.maths import in_dollars


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (r"so \( x^2 \) and \(y\)", "so $x^2$ and $y$"),
        ("\\[\na \\\\[2pt] b\n\\]", "$$a \\\\[2pt] b$$"),
        (r"$x$ and $$y$$", r"$x$ and $$y$$"),
    ],
)
def test_all_marks_of_maths_become_those_that_jupyter_knows(said: str, shown: str):
    assert in_dollars(said) == shown


@pytest.mark.parametrize(
    "text",
    [
        r"`\(x\)` and ``a ` \(x\)``",
        "```tex\n\\(x\\)\n```",
        "~~~\n$5 \\[x\\]",
        r"\\(x\\)",
        r"an open \( x",
    ],
)
def test_code_and_escapes_stay_as_they_are(text: str):
    assert in_dollars(text) == text


def test_prices_are_not_taken_for_maths():
    dollar = "<span>&#36;</span>"
    assert in_dollars(r"$5 or \$6, and $x$") == f"{dollar}5 or {dollar}6, and $x$"
    assert in_dollars("100$ (`$HOME`)") == f"100{dollar} (`$HOME`)"
    assert in_dollars("all for $5") == "all for $5"


@pytest.mark.parametrize("part", ["`", "` ", "$ ", r"\(", r"\[ $", "$a", "~~~ x\n"])
def test_marks_that_nobody_closes_cost_little(part: str):
    begun = time.process_time()
    in_dollars(part * 30_000)
    assert time.process_time() - begun < 2
