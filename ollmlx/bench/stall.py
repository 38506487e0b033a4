"""How long running streams stop when somebody sends a long prompt."""

import asyncio
import statistics
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

from msgspec import Struct

from ollmlx.bench import texts
from ollmlx.bench.contest import Tell
from ollmlx.bench.endpoint import Ask, Endpoint, answer, record
from ollmlx.bench.figures import percentile
from ollmlx.bench.report import Outcome, milliseconds
from ollmlx.bench.timeline import AnswerFailed, Recording, Timeline

_SHORT = 16
_ENDLESS = 4096
"""Tokens that a running stream may write; it is cut off long before."""
_QUIET_PIECES = 8
"""Pieces each running stream has written before the long prompt is sent."""


@dataclass(frozen=True)
class Load:
    streams: int
    prompt_tokens: int
    rounds: int
    key: str


class Stall(Struct, frozen=True):
    """Gaps between pieces of the running streams, in seconds, over all rounds."""

    name: str
    before_p50: float = 0.0
    before_worst: float = 0.0
    during_p50: float = 0.0
    during_worst: float = 0.0
    """While the long prompt was read."""
    ttft: float = 0.0
    """Of the long prompt."""
    prompt_tokens: int = 0
    error: str = ""


def stall(endpoints: Sequence[Endpoint], load: Load, tell: Tell) -> Outcome:
    results = []
    for endpoint in endpoints:
        tell(f"{endpoint.url}: {load.streams} streams, then {load.prompt_tokens} tokens to read")
        try:
            results.append(asyncio.run(_rounds(endpoint, load)))
        except AnswerFailed as error:
            results.append(Stall(endpoint.url, error=str(error)))
    table = [["who", "gap before", "worst before", "gap during", "worst during", "long TTFT"]]
    for result in results:
        if result.error:
            table.append([result.name, "failed", "", "", "", ""])
        else:
            table.append([result.name, *_cells(result)])
    failures = [f"{result.name} failed: {result.error}" for result in results if result.error]
    return Outcome(results, table, failures=failures)


def _cells(result: Stall) -> list[str]:
    """The quiet gap in units, the others as multiples of it."""
    others = (result.before_worst, result.during_p50, result.during_worst, result.ttft)
    unit = result.before_p50
    return [milliseconds(unit), *(f"x {value / unit:.2f}" if unit else "-" for value in others)]


async def _rounds(endpoint: Endpoint, load: Load) -> Stall:
    before: list[float] = []
    during: list[float] = []
    longs: list[Timeline] = []
    (warm,) = texts.prompts(f"{load.key}/warm", 1, 8)
    await answer(endpoint, endpoint.completion(warm, 2))
    for number in range(load.rounds):
        short = texts.prompts(f"{load.key}/{number}", load.streams, _SHORT)
        (long,) = texts.prompts(f"{load.key}/{number}/long", 1, load.prompt_tokens)
        running, arrival = await _one(endpoint, short, long)
        end = arrival.stamps[0]
        for timeline in running:
            before += _gaps(timeline, 0.0, arrival.started)
            during += _gaps(timeline, arrival.started, end)
        longs.append(arrival)
    return Stall(
        endpoint.url,
        percentile(before, 50),
        max(before, default=0.0),
        percentile(during, 50),
        max(during, default=0.0),
        statistics.median(arrival.first for arrival in longs),
        max(arrival.prompt_tokens for arrival in longs),
    )


async def _one(
    endpoint: Endpoint, short: Sequence[str], long: str
) -> tuple[list[Timeline], Timeline]:
    """Timelines of the streams that ran, and of the long prompt that came in between."""
    asks = [endpoint.completion(prompt, _ENDLESS) for prompt in short]
    async with _running(endpoint, asks) as recordings:
        await asyncio.gather(*(recording.reaches(_QUIET_PIECES) for recording in recordings))
        arrival = await answer(endpoint, endpoint.completion(long, 1))
        # A gap that the prompt made ends with the next piece.
        heard = [len(recording.chunks) + 1 for recording in recordings]
        waits = zip(recordings, heard, strict=True)
        await asyncio.gather(*(recording.reaches(chunks) for recording, chunks in waits))
    return [recording.timeline() for recording in recordings], arrival


@asynccontextmanager
async def _running(
    endpoint: Endpoint, asks: Sequence[Ask]
) -> AsyncGenerator[list[Recording], None]:
    """Streams that are hung up on at the end.  Raises `AnswerFailed` when one of them fails."""
    recordings = [Recording() for _ in asks]
    pairs = zip(asks, recordings, strict=True)
    tasks = [asyncio.create_task(record(endpoint, ask, recording)) for ask, recording in pairs]
    try:
        yield recordings
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, AnswerFailed):
            raise failure


def _gaps(timeline: Timeline, start: float, end: float) -> list[float]:
    """Gaps that began between two moments."""
    return [b - a for a, b in pairwise(timeline.arrivals) if a < end and b >= start]
