"""Every row of a batch keeps its own way of choosing, whoever comes and goes beside it."""

import mlx.core as mx
import pytest
from llguidance import LLTokenizer

from ollmlx.engine.formats import from_format
from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Sampling
from ollmlx.engine.mlx.choosing import Chooser, Constraint, Seated, Seats, Way
from ollmlx.engine.mlx.sampling import Draw
from ollmlx.errors import BadRequest

END = 256


class Batch:
    """Rows that write a token a byte; which come next is said, as mlx-lm's batch has it."""

    def __init__(self, num_vocab: int = 300) -> None:
        self._chooser, self._ways = Chooser(num_vocab), dict[int, Way]()

    def join(self, row: int, *choices: str, sampling: Sampling | None = None) -> Constraint | None:
        """Without choices it writes what it likes."""
        constraint = None
        if choices:
            grammar = from_format({"type": "choice", "choices": [*choices]})
            matcher = Matcher(LLTokenizer("byte"), grammar, self._chooser.num_vocab)
            constraint = Constraint(matcher, frozenset({END}))
        self._ways[row] = Way(Draw(sampling) if sampling else None, constraint)
        assert self._chooser.seat(row, self._ways[row]).rows == [row]
        return constraint

    def step(self, liked: dict[int, bytes]) -> list[int]:
        """What the rows choose, each of which likes some bytes, the first most."""
        self._chooser.rows = [*liked]
        logprobs = mx.full((len(liked), self._chooser.num_vocab), -50.0)
        for place, text in enumerate(liked.values()):
            for rank, byte in enumerate(text):
                logprobs[place, byte] = -rank
        return self._chooser(logprobs).tolist()  # type: ignore[no-any-return]  # mlx has no types


@pytest.mark.parametrize("num_vocab", [200, 262, 512])
def test_grammars_of_a_batch_are_each_rows_own(num_vocab: int) -> None:
    batch = Batch(num_vocab)
    batch.join(1, "ab", "bc")
    batch.join(2, "ax", "ay")
    batch.join(3)
    batch.join(4, "zz")
    assert batch.step({1: b"xcba", 2: b"xba", 3: b"!az", 4: b"az"}) == list(b"ba!z")
    assert batch.step({1: b"xabc", 2: b"ayx", 3: b"?az", 4: b"az"}) == list(b"cy?z")


def test_nothing_beyond_the_grammars_vocabulary_comes_up() -> None:
    batch = Batch(512)
    batch.join(1, "ab")
    batch.join(2)
    batch._chooser.rows = [1, 2]
    logprobs = mx.concatenate([mx.full((2, 500), -50.0), mx.zeros((2, 12))], axis=1)
    first, second = batch._chooser(logprobs).tolist()
    assert first == ord("a")
    assert second >= 500


def test_who_comes_and_goes_changes_nothing_for_the_others() -> None:
    batch = Batch()
    batch.join(1, "abc")
    assert batch.step({1: b"abc"}) == list(b"a")
    batch.join(2, "xyz")
    assert batch.step({2: b"zyx"}) == list(b"x")  # mlx-lm takes a new row's first step alone
    assert batch.step({1: b"acb", 2: b"zxy"}) == list(b"by")
    assert batch.step({2: b"xyz"}) == list(b"z")


def test_a_token_that_will_not_be_used_is_not_taken() -> None:
    batch = Batch()
    row = batch.join(1, "abc")
    batch.join(2, "abc")
    assert batch.step({1: b"a", 2: b"a"}) == list(b"aa")
    assert row
    row.forget()
    assert batch.step({2: b"ab", 1: b"ba"}) == list(b"ba")


def test_a_row_that_fails_or_ends_leaves_its_neighbours_theirs() -> None:
    batch = Batch()
    rows = [batch.join(number, "abc") for number in (1, 2, 3)]
    batch.step({1: b"a", 2: b"a", 3: b"a"})
    for row, token in zip(rows, (ord("x"), END, ord("a")), strict=True):
        assert row
        row.chose(type("Step", (), {"numbers": [token]})(), 0)  # type: ignore[arg-type]
    assert batch.step({1: b"!ab", 2: b"!ab", 3: b"!ab"}) == list(b"!!b")
    failures = [row and row.failure for row in rows]
    assert isinstance(failures[0], BadRequest)
    assert "grammar failed" in str(failures[0])
    assert failures[1:] == [None, None]


def test_rows_of_all_kinds_choose_as_they_would_alone() -> None:
    kinds = [None, Sampling(seed=1), Sampling(seed=2, top_k=0), Sampling(seed=3, min_p=0.1)]
    kinds += [Sampling(seed=4, top_k=0), Sampling(seed=5), None]
    liked = {row: bytes(range(60 + row, 100 + row)) for row in range(7)}

    def written(*groups: list[int]) -> dict[int, list[int]]:
        batch, texts = Batch(), dict[int, list[int]]()
        for row, sampling in enumerate(kinds):
            batch.join(row, sampling=sampling)
        for _ in range(12):
            for group in groups:
                for row, token in zip(group, batch.step({r: liked[r] for r in group}), strict=True):
                    texts.setdefault(row, []).append(token)
        return texts

    alone = written(*([row] for row in range(7)))
    assert written([3, 0, 6, 1, 5, 4, 2]) == alone == written([5, 2], [0, 1, 4, 3, 6])
    assert len({tuple(text) for text in alone.values()}) == 7


def test_seats_go_where_their_rows_go() -> None:
    seats = Seats.merge([Seats([7]), Seats([8, 9])])
    seats.extend(Seats([3]))
    seats.filter([0, 2, 3])
    assert seats.rows == [7, 9, 3]
    assert seats.extract(1).rows == [9]


def test_logits_are_widened_for_the_whole_batch_and_rows_are_told() -> None:
    def half(tokens: mx.array, cache: list[object]) -> mx.array:
        assert cache == ["one", "two"]
        return mx.zeros((*tokens.shape, 7), mx.bfloat16)

    chooser = Chooser(7)
    model = Seated(half, chooser)
    assert model(mx.array([[1], [2]]), cache=["one", "two", Seats([5, 6])]).dtype == mx.float32
    assert chooser.rows == [5, 6]
