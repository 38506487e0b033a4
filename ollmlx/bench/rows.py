"""A table's rows by `ollmlx.map`, against the same questions in a loop over the plain client."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import ollama
from msgspec import Struct

from ollmlx.batch.mapping import map as map_rows
from ollmlx.bench import texts
from ollmlx.bench.contest import Tell
from ollmlx.bench.endpoint import Endpoint
from ollmlx.bench.report import Bar, Outcome

_LEAST = 1.3
SLOTS = 0
"""Answers that the server writes at once: what it chooses by itself."""
_WORDS = 12
"""Of a row, about as long as a short message."""
_LETTERS = "the mood of its author, what it is about, and whether somebody must answer today"
_PROMPT = f"You sort the letters that a newspaper gets.  Say of each {_LETTERS}.  Letter: {{}}"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["happy", "angry", "neutral"]},
        "topic": {"enum": ["food", "travel", "work"]},
        "urgent": {"type": "boolean"},
    },
    "required": ["mood", "topic", "urgent"],
}
# The likeliest text, and room enough for all of it.
_OPTIONS = {"temperature": 0, "num_predict": 64}


class Rows(Struct, frozen=True):
    """Seconds for all rows, a number a round."""

    rows: int
    loop_seconds: list[float]
    map_seconds: list[float]

    @property
    def ratio(self) -> float:
        """How many times faster the batch is: the median of the rounds' ratios."""
        return median(
            loop / batch for loop, batch in zip(self.loop_seconds, self.map_seconds, strict=True)
        )


def rows(endpoint: Endpoint, count: int, rounds: int, key: str, tell: Tell) -> Outcome:
    """Both answer fresh rows of the same kind in each round, and take turns in beginning."""
    result = Rows(count, [], [])
    ways: list[tuple[str, Callable[[Sequence[str]], None], list[float]]] = [
        ("loop", lambda some: _loop(endpoint, some), result.loop_seconds),
        ("map", lambda some: _map(endpoint, some), result.map_seconds),
    ]
    _map(endpoint, _texts(f"{key}/warm", 1))
    for number in range(rounds):
        for name, answer, seconds in ways if number % 2 == 0 else ways[::-1]:
            tell(f"{name}, round {number + 1} of {rounds}")
            some = _texts(f"{key}/{number}/{name}", count)
            began = time.perf_counter()
            answer(some)
            seconds.append(time.perf_counter() - began)
    loop, batch = median(result.loop_seconds), median(result.map_seconds)
    table = [
        ["rows", "who", "seconds", "faster"],
        [str(count), "a loop over the plain client", f"{loop:.1f}", ""],
        [str(count), "ollmlx.map", f"{batch:.1f}", f"x {result.ratio:.2f}"],
    ]
    bar = Bar("ollmlx.map / loop, rows a second", result.ratio, _LEAST, at_most=False)
    return Outcome([result], table, [bar])


def _texts(key: str, count: int) -> list[str]:
    return [texts.words(f"{key}/{number}", _WORDS) for number in range(count)]


def _loop(endpoint: Endpoint, some: Sequence[str]) -> None:
    with ollama.Client(endpoint.url, trust_env=False) as client:
        for text in some:
            question = {"role": "user", "content": _PROMPT.replace("{}", text)}
            client.chat(endpoint.model, [question], format=SCHEMA, options=_OPTIONS)


def _map(endpoint: Endpoint, some: Sequence[str]) -> None:
    map_rows(some, _PROMPT, SCHEMA, model=endpoint.model, host=endpoint.url, options=_OPTIONS)
