"""Thoughts are told from the answer, wherever the text is cut."""

import pytest

from ollmlx.prompt.split import ThinkingSplitter
from tests.prompt.pieces import cuts


def split(pieces: list[str], started: bool) -> tuple[str, str]:
    splitter = ThinkingSplitter("<think>", "</think>", started)
    parts = [splitter.push(piece) for piece in pieces] + [splitter.finish()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


@pytest.mark.parametrize(
    ("text", "started", "thoughts", "answer"),
    [
        ("<think>a b</think>c", False, "a b", "c"),
        ("  \n<think>\n a\n</think>\n\n c \n", False, "a\n", "c \n"),
        ("plain <think>x</think>", False, "", "plain <think>x</think>"),
        ("  plain", False, "", "  plain"),
        ("<thin air", False, "", "<thin air"),
        ("a</think>b", True, "a", "b"),
        ("\n\na</thi</think>b</think>", True, "a</thi", "b</think>"),
        ("never closed", True, "never closed", ""),
        ("<think></think>x", False, "", "x"),
        ("<think>a</think>", False, "a", ""),
        ("<think>a</thin", False, "a", ""),
        ("<thi", False, "", ""),
        ("", False, "", ""),
        ("<think>日本</think>語", False, "日本", "語"),
        ("<think>a<think>b</think>c</think>", False, "a<think>b", "c</think>"),
    ],
)
def test_thoughts_and_answer_are_the_same_however_the_text_is_cut(
    text: str, started: bool, thoughts: str, answer: str
) -> None:
    for pieces in cuts(text):
        assert split(pieces, started) == (thoughts, answer), pieces


def test_thoughts_come_as_soon_as_they_cannot_be_a_tag() -> None:
    splitter = ThinkingSplitter("<think>", "</think>", started=True)
    assert splitter.push("one <") == ("one ", "")
    assert splitter.push("two") == ("<two", "")
    assert not splitter.answering
    assert splitter.push("</think>x") == ("", "x")
    assert splitter.answering
