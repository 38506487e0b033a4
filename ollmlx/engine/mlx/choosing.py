"""The next token of every row of a batch, in one call.

mlx-lm's batch bends logits and calls samplers row by row, a dozen small kernels each, unless all
rows share one sampler.  They share this one, which knows each row's own way of choosing by its
seat.
"""

from collections.abc import Sequence
from functools import cached_property
from weakref import WeakValueDictionary

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from ollmlx.engine.grammar import Matcher
from ollmlx.engine.mlx.sampling import Draw, draw
from ollmlx.errors import OllmlxError

_ANYTHING = np.uint32(0xFFFFFFFF)


class Seats:
    """Whose each row of a batch is.

    Behind the layers' caches, so that it is merged, filtered and copied as they are.
    """

    nbytes = 0
    state = ()
    """Nothing to be computed."""

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = [*rows]

    @classmethod
    def merge(cls, seats: Sequence["Seats"]) -> "Seats":
        return cls([row for each in seats for row in each.rows])

    def extend(self, other: "Seats") -> None:
        self.rows += other.rows

    def filter(self, keep: Sequence[int]) -> None:
        self.rows = [self.rows[place] for place in keep]

    def extract(self, place: int) -> "Seats":
        return Seats([self.rows[place]])


class _Step:
    """The tokens that one call chose."""

    def __init__(self, tokens: mx.array) -> None:
        self._tokens = tokens

    @cached_property
    def numbers(self) -> list[int]:
        """Waits for them; nothing that was started later is waited for."""
        return np.array(self._tokens).tolist()  # type: ignore[no-any-return]


class Constraint:
    """Keeps an answer inside a grammar."""

    failure: OllmlxError | None = None

    def __init__(self, matcher: Matcher, ends: frozenset[int]) -> None:
        self._matcher, self._ends = matcher, ends
        self._chosen: tuple[_Step, int] | None = None
        self._open = True

    def chose(self, step: _Step, place: int) -> None:
        """Its next token is in that place of a step."""
        self._chosen = (step, place)

    def forget(self) -> None:
        """The token chosen last will not be used."""
        self._chosen = None

    def follow(self) -> NDArray[np.uint32] | None:
        """Take the token chosen last; what may come next, a bit a token, or None for anything.

        Anything may come behind the end, and where the grammar failed: that is `failure`.
        """
        if self._open:
            try:
                self._open = self._goes_on()
            except OllmlxError as error:  # raised, it would spoil the neighbours' caches
                self.failure, self._open = error, False
            except (RuntimeError, ValueError) as error:  # llguidance's
                self.failure, self._open = OllmlxError(str(error)), False
        return self._matcher.words if self._open else None

    def _goes_on(self) -> bool:
        if self._chosen is not None:
            (step, place), self._chosen = self._chosen, None
            if (token := step.numbers[place]) in self._ends:
                return False
            self._matcher.consume(token)
        self._matcher.find()
        return True


class Way:
    """How one row's tokens are chosen."""

    def __init__(self, drawn: Draw | None, constraint: Constraint | None) -> None:
        """Without a draw it is the likeliest."""
        self.draw, self.constraint = drawn, constraint


class Chooser:
    """The sampler that all rows of mlx-lm's batch share."""

    def __init__(self, num_vocab: int) -> None:
        """`num_vocab` is the width of the logits."""
        self.num_vocab = num_vocab
        self.rows: Sequence[int] = ()
        """Whose the rows of the next call are."""
        self._ways = WeakValueDictionary[int, Way]()
        self._bits = mx.array([1 << bit for bit in range(8)], mx.uint8)

    def seat(self, row: int, way: Way) -> Seats:
        """What goes into the batch behind a row's caches; the caller keeps `way`."""
        self._ways[row] = way
        return Seats([row])

    def __call__(self, logprobs: mx.array) -> mx.array:
        """Log-probabilities `[rows, vocabulary]` → tokens `[rows]`."""
        ways = [self._ways[row] for row in self.rows]
        draws, constraints = [way.draw for way in ways], [way.constraint for way in ways]
        if not any(constraints):
            return _choose(draws, logprobs)
        mx.async_eval(logprobs)  # type: ignore[no-untyped-call]  # runs while words are found
        logprobs = mx.where(self._allowed(self._words(constraints)), logprobs, -mx.inf)
        tokens = _choose(draws, logprobs)
        step = _Step(tokens)
        for place, constraint in enumerate(constraints):
            if constraint:
                constraint.chose(step, place)
        return tokens

    def _words(self, constraints: Sequence[Constraint | None]) -> NDArray[np.uint32]:
        """What may come next, a bit a token, `[rows, words]`.

        Found one by one: 32 of 27 µs took nearly twice as long in 12 of llguidance's threads.
        """
        packed = np.full((len(constraints), -(-self.num_vocab // 32)), _ANYTHING)
        for row, constraint in zip(packed, constraints, strict=True):
            if constraint and (known := constraint.follow()) is not None:
                width = min(len(row), len(known))
                row[:width], row[width:] = known[:width], 0
        return packed

    def _allowed(self, words: NDArray[np.uint32]) -> mx.array:
        """Booleans `[rows, vocabulary]`: made on the device, so that an eighth of it travels."""
        octets = mx.array(words.view(np.uint8))[:, :, None]
        bits = mx.bitwise_and(octets, self._bits) != 0
        return bits.reshape(len(words), -1)[:, : self.num_vocab]


class Seated:
    """A model for mlx-lm's batch to call, which tells the chooser whose rows these are.

    Its logits are float32: in half precision one row's float32 penalties would widen its
    neighbours' logits too, and their tokens would depend on the company they keep.
    """

    def __init__(self, model: nn.Module, chooser: Chooser) -> None:
        self._model, self._chooser = model, chooser

    def __call__(self, tokens: mx.array, cache: list[object]) -> mx.array:
        *layers, seats = cache
        assert isinstance(seats, Seats)
        self._chooser.rows = seats.rows
        logits: mx.array = self._model(tokens, cache=layers)
        return logits.astype(mx.float32)


def _choose(draws: Sequence[Draw | None], logprobs: mx.array) -> mx.array:
    """Rows of one kind together."""
    kinds: dict[object, list[int]] = {}
    for place, drawn in enumerate(draws):
        kinds.setdefault(drawn and drawn.kind, []).append(place)
    if len(kinds) == 1:
        return _together(draws, logprobs)
    parts = [
        _together([draws[place] for place in places], logprobs[mx.array(places)])
        for places in kinds.values()
    ]
    order = np.argsort([place for places in kinds.values() for place in places])
    return mx.concatenate(parts)[mx.array(order)]


def _together(draws: Sequence[Draw | None], logprobs: mx.array) -> mx.array:
    drawn = [each for each in draws if each]
    return draw(drawn, logprobs) if drawn else mx.argmax(logprobs, axis=-1)
