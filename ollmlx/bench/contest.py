"""Contestants in turn, round by round, on the same prompts.

Each round begins with another contestant, so that a machine that grows slower or faster during a
round favours nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from ollmlx.bench import texts
from ollmlx.bench.figures import Figures, measure, medians, ratios
from ollmlx.bench.timeline import AnswerFailed, Timeline

Tell = Callable[[str], None]


class Contestant(Protocol):
    name: str

    def run(self, prompts: Sequence[str], tokens: int) -> list[Timeline]:
        """Write on from all prompts at once, `tokens` each.  Raises `AnswerFailed`."""

    def cpu_seconds(self) -> float | None:
        """Processor time used so far, None where it cannot be read."""


@dataclass(frozen=True)
class Work:
    """What a contest is about."""

    streams: Sequence[int]
    tokens: int
    prompt_tokens: int
    rounds: int
    key: str
    """Names the prompts: another key, other prompts."""


class Result(Struct, frozen=True):
    """One contestant at one number of streams."""

    name: str
    streams: int
    medians: Figures | None
    ratios: dict[str, float]
    """To the first contestant; empty where one of the two failed."""
    rounds: list[Figures]
    error: str = ""


@dataclass
class _Score:
    rounds: list[Figures] = field(default_factory=list)
    error: str = ""


def hold(contestants: Sequence[Contestant], work: Work, tell: Tell) -> list[Result]:
    """A contestant that fails is out for that number of streams; the others go on."""
    for contestant in contestants:
        tell(f"warming up {contestant.name}")
        # What fails here fails again below, where it is written down.
        _run(contestant, texts.prompts(f"{work.key}/warm", 1, 8), 2)
    return [result for streams in work.streams for result in _at(streams, contestants, work, tell)]


def _at(streams: int, contestants: Sequence[Contestant], work: Work, tell: Tell) -> list[Result]:
    scores = [_Score() for _ in contestants]
    for number in range(work.rounds):
        prompts = texts.prompts(f"{work.key}/{streams}/{number}", streams, work.prompt_tokens)
        turns = list(zip(contestants, scores, strict=True))
        first = number % len(turns)
        for contestant, score in turns[first:] + turns[:first]:
            if not score.error:
                tell(f"{streams} streams, round {number + 1}: {contestant.name}")
                _score(contestant, score, prompts, work.tokens)
    return [
        _result(contestant.name, streams, score, scores[0])
        for contestant, score in zip(contestants, scores, strict=True)
    ]


def _score(contestant: Contestant, score: _Score, prompts: list[str], tokens: int) -> None:
    outcome = _run(contestant, prompts, tokens)
    if isinstance(outcome, str):
        score.error = outcome
    else:
        score.rounds.append(outcome)


def _run(contestant: Contestant, prompts: list[str], tokens: int) -> Figures | str:
    """The round's figures, or why there are none."""
    before = contestant.cpu_seconds()
    try:
        timelines = contestant.run(prompts, tokens)
    except AnswerFailed as error:
        return str(error)
    after = contestant.cpu_seconds()
    cpu = after - before if before is not None and after is not None else None
    return measure(timelines, tokens, cpu)


def _result(name: str, streams: int, score: _Score, reference: _Score) -> Result:
    if score.error or not score.rounds:
        return Result(name, streams, None, {}, score.rounds, score.error)
    comparable = not reference.error
    against = ratios(score.rounds, reference.rounds) if comparable else {}
    return Result(name, streams, medians(score.rounds), against, score.rounds)
