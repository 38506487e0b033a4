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


@pytest.mark.parametrize("num_vocab", [200, 262, 512])
def test_few_tokens_are_named_and_many_are_picked_from(
    tokenizer: LLTokenizer, num_vocab: int
) -> None:
    grammar = from_format({"type": "regex", "pattern": '"[^"]*"'})
    matcher = Matcher(tokenizer, grammar, num_vocab)
    few = matcher.few()
    assert few is not None
    assert few.tolist() == [ord('"')]
    for byte in b'"a':
        matcher.consume(byte)
    assert matcher.few() is None
    among = matcher.among(np.arange(num_vocab))
    assert among.tolist() == np.flatnonzero(matcher.allowed()).tolist()
    assert matcher.among(np.array([ord("b"), ord('"'), 255])).tolist() == [ord("b"), ord('"')]


@pytest.mark.parametrize("num_vocab", [200, 512])
def test_a_token_asked_after_is_allowed_as_the_mask_says(
    tokenizer: LLTokenizer, num_vocab: int
) -> None:
    grammar = from_format({"type": "regex", "pattern": "(a[^xyz]*)?"})
    mask, asked = (Matcher(tokenizer, grammar, num_vocab) for _ in range(2))
    for byte in b"abc":
        allowed = [asked.allows(token) for token in range(num_vocab)]
        assert allowed == mask.allowed().tolist()
        mask.consume(byte)
        asked.consume(byte)


def test_matchers_of_one_grammar_go_their_own_ways(tokenizer: LLTokenizer) -> None:
    grammar = from_format({"type": "choice", "choices": ["abc", "bcd"]})
    first, second = (Matcher(tokenizer, grammar, 256) for _ in range(2))
    first.consume(ord("a"))
    second.consume(ord("b"))
    assert [np.flatnonzero(m.allowed()).tolist() for m in (first, second)] == [[98], [99]]
    assert Matcher(tokenizer, grammar, 256).allowed()[ord("a")]
