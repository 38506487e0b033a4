import pytest

from ollmlx.engine.text import TextStream


def shown(pieces: list[bytes], stop: list[str]) -> tuple[list[str], TextStream]:
    stream = TextStream(stop)
    return [stream.push(piece) for piece in pieces], stream


def test_a_character_is_shown_only_when_its_last_byte_came() -> None:
    texts, stream = shown([b"\xf0\x9f", b"\x98", b"\x80!"], [])
    assert texts == ["", "", "😀!"]
    assert stream.flush() == ""


def test_a_character_cut_short_at_the_end_is_a_replacement_character() -> None:
    texts, stream = shown([b"a\xf0\x9f"], [])
    assert texts == ["a"]
    assert stream.flush() == "\ufffd"


def test_a_stop_text_spread_over_pieces_is_never_shown() -> None:
    texts, stream = shown([b"Hi<", b"|im_", b"end|", b"> more", b"still"], ["<|im_end|>"])
    assert texts == ["Hi", "", "", "", ""]
    assert stream.stopped
    assert stream.flush() == ""


def test_what_only_looked_like_a_stop_text_is_shown_once_it_is_not() -> None:
    texts, stream = shown([b"a<|im", b"age|>", b"<"], ["<|im_end|>"])
    assert texts == ["a", "<|image|>", ""]
    assert not stream.stopped
    assert stream.flush() == "<"


def test_the_earliest_of_several_stop_texts_cuts() -> None:
    texts, stream = shown([b"one two three"], ["three", "two"])
    assert texts == ["one "]
    assert stream.stopped


def test_the_longest_beginning_of_any_stop_text_is_held_back() -> None:
    texts, stream = shown([b"xaab"], ["abc", "aabd"])
    assert texts == ["x"]
    assert stream.push(b"c") == "a"
    assert stream.stopped


def test_a_stop_text_that_overlaps_itself_is_found() -> None:
    texts, stream = shown([b"aa", b"ab"], ["aab"])
    assert texts == ["", "a"]
    assert stream.stopped


def test_an_empty_stop_text_stops_nothing() -> None:
    texts, stream = shown([b"abc"], [""])
    assert texts == ["abc"]
    assert not stream.stopped


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_text_does_not_depend_on_how_it_was_cut(size: int) -> None:
    whole = "Grüße, 日本 👩‍👩‍👧 — fin STOPP STO".encode()
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    texts, stream = shown(pieces, ["STOPPED"])
    assert ("".join(texts) + stream.flush()).encode() == whole
