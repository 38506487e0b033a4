"""Our own server against its engine: what process and HTTP cost, and what the whole of it costs."""

from collections.abc import Sequence

from ollmlx.bench import engines, machine
from ollmlx.bench.contest import Result, Tell, Work, hold
from ollmlx.bench.endpoint import Endpoint
from ollmlx.bench.report import Bar, Outcome, contest_failures, contest_table
from ollmlx.bench.served import Served

OVERHEAD, LEAST = 0.05, 0.95
_NAME = {"type": "string", "minLength": 20}
_RECORD = {
    "type": "object",
    "properties": {"name": _NAME, "mood": {"enum": ["happy", "angry"]}, "age": {"type": "integer"}},
    "required": ["name", "mood", "age"],
}
_FORMATS = {
    "one long text": {"type": "string", "minLength": 100_000},
    "records": {"type": "array", "items": _RECORD, "minItems": 1000},
}
"""Longer than any answer here, so that all write as much as without them."""


def streams(endpoints: Sequence[Endpoint], work: Work, tell: Tell) -> Outcome:
    """Servers side by side, the first of them the measure of the others."""
    results = hold([Served(endpoint.url, endpoint) for endpoint in endpoints], work, tell)
    return Outcome(results, contest_table(results), failures=contest_failures(results))


def overhead(model: str, threads: int, work: Work, tell: Tell) -> Outcome:
    """Through pipe and HTTP, against the same backend stepped in this process."""
    slots = max(work.streams)
    tell("loading the model in this process")
    with engines.in_process(model, slots, threads) as engine, machine.ollmlx_server(slots) as ours:
        results = hold([engine, _served(ours, model, threads)], work, tell)
    bars = [
        Bar(f"added to a step, {result.streams} streams", result.ratios["step"] - 1, OVERHEAD)
        for result in _others(results)
        if "step" in result.ratios
    ]
    return Outcome(results, contest_table(results), bars, contest_failures(results))


def bare(model: str, threads: int, work: Work, tell: Tell) -> Outcome:
    """Our server against the bare library that computes for it."""
    slots = max(work.streams)
    tell("loading the model in this process")
    with engines.bare(model, slots, threads) as engine, machine.ollmlx_server(slots) as ours:
        results = hold([engine, _served(ours, model, threads)], work, tell)
    bars = [
        Bar(
            f"aggregate / {results[0].name}, {result.streams} streams",
            result.ratios["aggregate"],
            LEAST,
            at_most=False,
        )
        for result in _others(results)
    ]
    return Outcome(results, contest_table(results), bars, contest_failures(results))


def grammars(model: str, threads: int, temperature: float, work: Work, tell: Tell) -> Outcome:
    """Answers of a format against free ones, by one backend in this process."""
    tell("loading the model in this process")
    with engines.in_process(model, max(work.streams), threads) as engine:
        formats = {"free text": "", **_FORMATS}
        asked = [engine.under(name, format, temperature) for name, format in formats.items()]
        results = hold(asked, work, tell)
    bars = [
        Bar(f"{result.name}: added to a step, {result.streams} streams", added - 1, OVERHEAD)
        for result in _others(results)
        if (added := result.ratios.get("step"))
    ]
    return Outcome(results, contest_table(results), bars, contest_failures(results))


def _served(ours: machine.Started, model: str, threads: int) -> Served:
    options = {"num_thread": threads} if threads else {}
    return Served(
        "ollmlx over HTTP", Endpoint(ours.url, "ollama", model, options=options), ours.pid
    )


def _others(results: Sequence[Result]) -> list[Result]:
    """Those that can be compared with the first contestant."""
    return [result for result in results if result.ratios and result.name != results[0].name]
