"""Which tokens may be drawn, against llama.cpp's rules written out in numpy."""

import mlx.core as mx
import numpy as np
import pytest

from ollmlx.engine.jobs import Sampling
from ollmlx.engine.mlx.sampling import Draw, Penalties, Recorder, draw, likeliest

CHANCES = np.array([0.05, 0.4, 0.02, 0.2, 0.15, 0.1, 0.08])


def _drawn(sampling: Sampling, draws: int = 300) -> set[int]:
    """Every token that came up."""
    return set(_tokens(Draw(sampling), mx.array(np.log(CHANCES), mx.float32), draws))


def _tokens(one: Draw, logprobs: mx.array, draws: int) -> list[int]:
    """Drawn alone."""
    drawn: list[int] = mx.concatenate([draw([one], logprobs[None]) for _ in range(draws)]).tolist()
    return drawn


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


@pytest.mark.parametrize("settings", [{"min_p": 2.0}, {"typical_p": -1.0}, {"top_p": -1.0}])
def test_what_would_leave_none_leaves_the_likeliest(settings: dict[str, float]) -> None:
    expected = {1} if "typical_p" not in settings else {3}  # whose surprise is nearest the mean
    assert _drawn(_flat(**settings)) == expected


def test_boundless_heat_draws_nothing_that_was_left_out() -> None:
    assert _drawn(_flat(temperature=1e300, top_p=0.5)) == {1, 3}


def test_forbidden_tokens_never_come_up() -> None:
    logprobs = mx.array([0.0, -mx.inf, 0.0, -mx.inf])
    for settings in ({}, {"typical_p": 0.99}, {"top_p": 0.99, "min_p": 0.01, "top_k": 3}):
        assert set(_tokens(Draw(_flat(**settings)), logprobs, 50)) <= {0, 2}


def test_equal_seeds_draw_equal_tokens() -> None:
    logprobs = mx.random.normal((500,), key=mx.random.key(0))
    first, second, other = (_tokens(Draw(Sampling(seed=s)), logprobs, 20) for s in (3, 3, 4))
    assert first == second != other
    assert _tokens(Draw(Sampling()), logprobs, 20) != _tokens(Draw(Sampling()), logprobs, 20)


def test_rows_drawn_together_are_each_as_alone() -> None:
    rows = mx.random.normal((4, 3000), key=mx.random.key(0)) * 2
    ways = [
        Sampling(seed=seed, temperature=heat, top_p=mass)
        for seed, heat, mass in ((1, 0.8, 0.9), (2, 2.0, 0.5), (3, 0.1, 0.99), (4, 5.0, 0.9))
    ]
    alone = [_tokens(Draw(way), row, 30) for way, row in zip(ways, rows, strict=True)]
    draws = [Draw(way) for way in ways]
    together = [draw(draws, rows).tolist() for _ in range(30)]
    assert [list(row) for row in zip(*together, strict=True)] == alone
    assert len({tuple(row) for row in alone}) == 4


@pytest.mark.parametrize("size", [7, 300, 1281, 3001, 49152])
@pytest.mark.parametrize("k", [1, 40, 5000])
def test_the_likeliest_are_what_sorting_all_finds(k: int, size: int) -> None:
    dice = np.random.default_rng(size)
    logprobs = -mx.array(np.array([dice.permutation(size) for _ in range(3)], np.float32))
    expected = np.argsort(-np.array(logprobs), axis=-1)[:, :k]
    assert np.array(likeliest(logprobs, k)).tolist() == expected.tolist()


def test_the_likeliest_of_many_that_are_equal_are_told_apart() -> None:
    found = np.array(likeliest(mx.zeros((1, 3001)), 40))[0].tolist()
    assert len(set(found)) == 40
    assert max(found) < 3001


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
