"""Which tokens may be drawn, against llama.cpp's rules written out in numpy."""

import mlx.core as mx
import numpy as np
import pytest
from llguidance import LLTokenizer

from ollmlx.engine.formats import from_format
from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Sampling
from ollmlx.engine.mlx.sampling import (
    Constraint,
    Draw,
    Masks,
    Penalties,
    Recorder,
    Widened,
    greedy,
    sampler_for,
)
from ollmlx.errors import OllmlxError

CHOICES = [["ab", "bc"], ["ax", "ay"], ["zz"]]
END = 256
CHANCES = np.array([0.05, 0.4, 0.02, 0.2, 0.15, 0.1, 0.08])


def _drawn(sampling: Sampling, draws: int = 300) -> set[int]:
    """Every token that came up."""
    logprobs = mx.array(np.log(CHANCES), mx.float32)[None]
    draw = Draw(sampling)
    tokens = [draw(logprobs) for _ in range(draws)]
    return set(np.array(mx.concatenate(tokens)).tolist())


def _flat(**settings: float) -> Sampling:
    """Everything off except what is named, and hot enough that all that may come does."""
    off = {"temperature": 4.0, "top_k": 0, "top_p": 1.0, "seed": 1}
    return Sampling(**(off | settings))  # type: ignore[arg-type]  # test shorthand


def test_everything_off_draws_everything() -> None:
    assert _drawn(_flat()) == set(range(7))


@pytest.mark.parametrize(("k", "tokens"), [(1, {1}), (3, {1, 3, 4}), (99, set(range(7)))])
def test_top_k_keeps_the_k_likeliest(k: int, tokens: set[int]) -> None:
    assert _drawn(_flat(top_k=k)) == tokens


@pytest.mark.parametrize(
    ("p", "tokens"), [(0.0, {1}), (0.39, {1}), (0.41, {1, 3}), (0.74, {1, 3, 4})]
)
def test_top_p_keeps_the_fewest_that_reach_p(p: float, tokens: set[int]) -> None:
    assert _drawn(_flat(top_p=p)) == tokens


@pytest.mark.parametrize(("p", "tokens"), [(0.4, {1, 3}), (0.24, {1, 3, 4, 5})])
def test_min_p_is_relative_to_the_likeliest(p: float, tokens: set[int]) -> None:
    assert _drawn(_flat(min_p=p)) == tokens


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9])
def test_typical_p_keeps_the_least_surprising(p: float) -> None:
    entropy = -(CHANCES * np.log(CHANCES)).sum()
    order = np.argsort(np.abs(-np.log(CHANCES) - entropy))
    reached = np.cumsum(CHANCES[order]) > p
    expected = set(order[: int(np.argmax(reached)) + 1].tolist())
    assert _drawn(_flat(typical_p=p)) == expected


def test_top_p_counts_what_top_k_left() -> None:
    # Of the three likeliest, 0.4 / 0.75 is 0.53: the first alone reaches one half.
    assert _drawn(_flat(top_k=3, top_p=0.5)) == {1}


def test_temperature_comes_last() -> None:
    assert _drawn(_flat(top_p=0.5, temperature=50.0)) == {1, 3}


def test_hardly_any_temperature_is_greedy() -> None:
    assert _drawn(_flat(temperature=1e-30)) == {1}


def test_logits_are_widened_once_for_the_whole_batch() -> None:
    class Half:
        layers = ("one", "two")

        def __call__(self, tokens: mx.array, cache: list[object]) -> mx.array:
            return mx.zeros((*tokens.shape, 7), mx.bfloat16)

    model = Widened(Half())
    assert model(mx.array([[1, 2]]), cache=[]).dtype == mx.float32
    assert model.layers == ("one", "two")
    assert not hasattr(model, "make_cache")


def test_forbidden_tokens_never_come_up() -> None:
    logprobs = mx.array([[0.0, -mx.inf, 0.0, -mx.inf]])
    for settings in ({}, {"typical_p": 0.99}, {"top_p": 0.99, "min_p": 0.01, "top_k": 3}):
        draw = Draw(_flat(**settings))
        assert {int(draw(logprobs).item()) for _ in range(50)} <= {0, 2}


def test_equal_seeds_draw_equal_tokens() -> None:
    logprobs = mx.random.normal((1, 500), key=mx.random.key(0))
    first, second, other = (Draw(Sampling(seed=seed)) for seed in (3, 3, 4))
    draws = [[int(d(logprobs).item()) for _ in range(20)] for d in (first, second, other)]
    assert draws[0] == draws[1] != draws[2]


def test_rows_without_temperature_share_one_sampler() -> None:
    assert sampler_for(Sampling(temperature=0)) is greedy
    assert sampler_for(Sampling(temperature=-1)) is greedy


def test_penalties_are_those_of_llama_cpp() -> None:
    sampling = Sampling(
        repeat_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25, repeat_last_n=4
    )
    logits = mx.array([[1.0, -1.0, 3.0, 4.0]])
    tokens = mx.array([3, 0, 1, 1, 2])
    bent = np.array(Penalties(sampling, num_ctx=100)(tokens, logits))[0]
    # Token 3 is out of sight; token 1 was seen twice.
    assert bent.tolist() == [0.5 - 0.75, -2.0 - 1.25, 1.5 - 0.75, 4.0]
    far = Penalties(Sampling(presence_penalty=1.0, repeat_last_n=1 << 40), num_ctx=100)
    assert np.array(far(tokens, logits))[0].tolist() == [0.0, -2.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        (Sampling(), False),
        (Sampling(repeat_penalty=1.1), True),
        (Sampling(repeat_penalty=1.1, repeat_last_n=0), False),
        (Sampling(repeat_penalty=0), False),
        (Sampling(presence_penalty=0.1, repeat_last_n=-1), True),
    ],
)
def test_penalties_that_change_nothing_are_not_wanted(sampling: Sampling, wanted: bool) -> None:
    assert Penalties(sampling, num_ctx=100).wanted is wanted


def test_a_recorder_answers_step_by_step() -> None:
    recorder = Recorder(2, lambda token: b"%d" % token)
    for scale in (1.0, 3.0):
        logits = mx.array(np.log(CHANCES) * scale, mx.float32)[None]
        assert recorder(mx.array([0]), logits) is logits
    entry = recorder.take(0)
    assert entry.token == b"0"
    assert entry.logprob == pytest.approx(np.log(0.05), abs=1e-4)
    assert entry.top == [
        (b"1", pytest.approx(np.log(0.4), abs=1e-4)),
        (b"3", pytest.approx(np.log(0.2), abs=1e-4)),
    ]
    assert recorder.take(1).logprob > np.log(0.4)


# -- grammars --------------------------------------------------------------------------------------


class Rows:
    """Constrained rows of a batch, each a token a byte, stepped as mlx-lm does."""

    def __init__(self, num_vocab: int) -> None:
        self._num_vocab, self.masks = num_vocab, Masks(num_vocab)

    def join(self, grammar: str) -> Constraint:
        matcher = Matcher(LLTokenizer("byte"), grammar, self._num_vocab)
        return Constraint(matcher, frozenset({END}), self.masks)

    def step(self, row: Constraint) -> list[int]:
        """Tokens that may come next."""
        logits = row(mx.array([0]), mx.zeros((1, self._num_vocab)))
        assert logits.shape == (1, self._num_vocab)
        return np.flatnonzero(np.isfinite(np.array(logits[0]))).tolist()


def _sample(row: Constraint, token: int) -> None:
    row.watching(lambda logprobs: mx.array([token]))(mx.zeros((1, 1)))


def _ids(text: str) -> list[int]:
    return sorted(text.encode())


@pytest.mark.parametrize("num_vocab", [200, 262, 512])
def test_masks_of_a_batch_are_each_rows_own(num_vocab: int) -> None:
    batch = Rows(num_vocab)
    rows = [batch.join(from_format({"type": "choice", "choices": c})) for c in CHOICES]
    assert [batch.step(row) for row in rows] == [_ids("ab"), _ids("a"), _ids("z")]
    for row, token in zip(rows, b"baz", strict=True):
        _sample(row, token)
    assert [batch.step(row) for row in rows] == [_ids("c"), _ids("xy"), _ids("z")]


def test_masks_of_a_batch_travel_together(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, sent = Rows(300), list[int]()
    rows = [batch.join(from_format({"type": "choice", "choices": c})) for c in CHOICES]
    for row, token in zip(rows, b"baz", strict=True):
        batch.step(row)
        _sample(row, token)
    plain = Masks._unpacked
    monkeypatch.setattr(  # nothing else shows what went to the device
        Masks, "_unpacked", lambda self, words: sent.append(len(words)) or plain(self, words)
    )
    late = batch.join(from_format("json"))
    assert batch.step(late) == _ids("{")
    for row in rows:
        batch.step(row)
    assert sent == [1, 3]


def test_a_token_that_will_not_be_used_is_not_taken() -> None:
    batch = Rows(300)
    row, other = (batch.join(from_format({"type": "choice", "choices": ["abc"]})) for _ in "12")
    for each in (row, other):
        batch.step(each)
        _sample(each, ord("a"))
    row.forget()
    assert batch.step(other) == _ids("b")
    assert batch.step(row) == _ids("a")


def test_a_row_that_fails_or_ends_leaves_its_neighbours_their_masks() -> None:
    batch = Rows(300)
    rows = [batch.join(from_format({"type": "choice", "choices": ["abc"]})) for _ in range(3)]
    for row, token in zip(rows, (ord("x"), END, ord("a")), strict=True):
        batch.step(row)
        _sample(row, token)
    with pytest.raises(OllmlxError, match="grammar failed"):
        batch.step(rows[0])
    assert len(batch.step(rows[1])) == 300
    assert batch.step(rows[2]) == _ids("b")
