"""What a round of streams comes to, and what many rounds come to."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct, structs

from ollmlx.bench.timeline import Timeline


class Figures(Struct, frozen=True, kw_only=True):
    """One contestant's round, or the medians of its rounds.  Seconds, and tokens a second."""

    aggregate: float
    """Tokens of all streams by the time from the first request to the last token."""
    per_stream: float
    """Median of the streams' speeds once they write."""
    ttft_median: float
    ttft_p95: float
    gap_p50: float
    gap_p99: float
    gap_worst: float
    step: float
    """Seconds a token once every stream writes: an engine's step, with no prompt beside it."""
    tokens: float
    prompt_tokens: float
    ended_early: float
    """Streams that wrote less than they were allowed to."""
    cpu_per_token: float | None = None
    """Processor seconds of the server's processes by tokens written; None where not to be had."""


RATIOS = ("aggregate", "per_stream", "ttft_median", "ttft_p95", "gap_p50", "gap_p99", "gap_worst")
"""Of these a ratio to another contestant means something; so it does of `cpu_per_token`."""


def percentile(values: Sequence[float], share: float) -> float:
    """0 for nothing."""
    return float(np.percentile(values, share)) if len(values) else 0.0


def measure(timelines: Sequence[Timeline], allowed: int, cpu: float | None) -> Figures:
    """`allowed` tokens a stream; `cpu` seconds of all of them together."""
    gaps = [gap for timeline in timelines for gap in timeline.gaps]
    firsts = [timeline.first for timeline in timelines]
    tokens = sum(timeline.tokens for timeline in timelines)
    seconds = max(t.stamps[-1] for t in timelines) - min(t.started for t in timelines)
    return Figures(
        aggregate=tokens / seconds,
        per_stream=statistics.median(timeline.speed for timeline in timelines),
        ttft_median=statistics.median(firsts),
        ttft_p95=percentile(firsts, 95),
        gap_p50=percentile(gaps, 50),
        gap_p99=percentile(gaps, 99),
        gap_worst=max(gaps, default=0.0),
        step=_step(timelines),
        tokens=tokens,
        prompt_tokens=sum(timeline.prompt_tokens for timeline in timelines),
        ended_early=sum(timeline.tokens < allowed for timeline in timelines),
        cpu_per_token=cpu / tokens if cpu is not None else None,
    )


def _step(timelines: Sequence[Timeline]) -> float:
    """Between the last stream's beginning and the first stream's end; pieces may come together."""
    begun = max(timeline.stamps[0] for timeline in timelines)
    ended = min(timeline.stamps[-1] for timeline in timelines)
    shared = [[at for at in timeline.stamps if begun <= at <= ended] for timeline in timelines]
    steps = [(stamps[-1] - stamps[0]) / (len(stamps) - 1) for stamps in shared if len(stamps) > 1]
    return statistics.median(steps) if steps else 0.0


def medians(rounds: Sequence[Figures]) -> Figures:
    """Of each figure by itself."""
    table = [structs.asdict(figures) for figures in rounds]
    columns = {name: [row[name] for row in table] for name in Figures.__struct_fields__}
    middle: dict[str, Any] = {
        name: None if None in values else statistics.median(values)
        for name, values in columns.items()
    }
    return Figures(**middle)


def ratios(rounds: Sequence[Figures], reference: Sequence[Figures]) -> dict[str, float]:
    """Median over rounds of each figure by the reference's of the same round."""
    found: dict[str, float] = {}
    for name in (*RATIOS, "step", "cpu_per_token"):
        pairs = [
            (getattr(mine, name), getattr(theirs, name))
            for mine, theirs in zip(rounds, reference, strict=True)
        ]
        if all(mine is not None and theirs for mine, theirs in pairs):
            found[name] = statistics.median(mine / theirs for mine, theirs in pairs)
    return found
