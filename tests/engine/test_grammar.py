import numpy as np
import pytest
from llguidance import LLTokenizer

from ollmlx.engine.formats import from_format
from ollmlx.engine.grammar import Matcher
from ollmlx.errors import BadRequest


@pytest.fixture(scope="module")
def tokenizer() -> LLTokenizer:
    """A token a byte, and an end token."""
    return LLTokenizer("byte")


def test_a_bad_grammar_is_refused(tokenizer: LLTokenizer) -> None:
    with pytest.raises(BadRequest, match="invalid grammar"):
        Matcher(tokenizer, "start: nothing", tokenizer.vocab_size)


def test_only_an_end_token_follows_a_finished_answer(tokenizer: LLTokenizer) -> None:
    matcher = Matcher(tokenizer, from_format("json"), tokenizer.vocab_size)
    for byte in b"{}":
        assert not matcher.finished
        matcher.consume(byte)
    assert matcher.finished
    assert np.flatnonzero(matcher.allowed()).tolist() == [tokenizer.eos_token]


@pytest.mark.parametrize("num_vocab", [200, 262, 512])
def test_the_mask_is_as_wide_as_the_logits(tokenizer: LLTokenizer, num_vocab: int) -> None:
    mask = Matcher(tokenizer, from_format("json"), num_vocab).allowed()
    assert mask.shape == (num_vocab,)
    assert np.flatnonzero(mask).tolist() == [ord("{")]


def test_a_token_that_was_not_allowed_is_an_error_not_a_crash(tokenizer: LLTokenizer) -> None:
    matcher = Matcher(tokenizer, from_format("json"), tokenizer.vocab_size)
    with pytest.raises(BadRequest, match="grammar failed"):
        matcher.consume(ord("A"))


def test_choices_are_the_fewer_of_those_allowed_and_those_not(tokenizer: LLTokenizer) -> None:
    text = {"type": "regex", "pattern": '"[^"]*"'}
    matcher = Matcher(tokenizer, from_format(text), tokenizer.vocab_size)
    assert [part if isinstance(part, bool) else part.tolist() for part in matcher.choices()] == [
        [ord('"')],
        True,
    ]
    matcher.consume(ord('"'))
    forbidden, allowed = matcher.choices()
    assert not allowed
    assert sorted(forbidden) == np.flatnonzero(~matcher.allowed()).tolist()
    assert tokenizer.eos_token in forbidden
