"""What was measured, as a document to keep and as a table to read."""

import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec import Struct

from ollmlx.bench.contest import Result
from ollmlx.bench.figures import RATIOS

_LIBRARIES = (
    *("ollmlx", "llama-cpp-python", "mlx", "mlx-lm", "llguidance", "numpy", "msgspec", "tornado"),
    *("jupyter-server", "httpx"),
)
_HEADINGS = ("aggregate", "per stream", "TTFT", "TTFT p95", "gap p50", "gap p99", "worst gap")


class Bar(Struct, frozen=True):
    """A number and what it has to be."""

    what: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "met" if self.met else "MISSED"
        return f"{self.what}: {self.value:.3g} (bar {sign} {self.limit:g}: {verdict})"


class Outcome(Struct, frozen=True):
    """What a measure found: for the document, and for the terminal."""

    results: list[Any]
    table: list[list[str]]
    bars: list[Bar] = []
    failures: list[str] = []
    """Who failed at what, and why."""


def document(measure: str, arguments: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    return {
        "measure": measure,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": _machine(),
        "versions": _versions(),
        "arguments": arguments,
        "results": outcome.results,
        "bars": [{**msgspec.structs.asdict(bar), "met": bar.met} for bar in outcome.bars],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def text(outcome: Outcome) -> str:
    """A table with its columns in line, then what failed, then the bars."""
    widths = [max(map(len, column)) for column in zip(*outcome.table, strict=True)]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in outcome.table
    ]
    below = [*outcome.failures, *map(str, outcome.bars)]
    return "\n".join([*rows, *([""] if below else []), *below])


def contest_table(results: Sequence[Result]) -> list[list[str]]:
    """The first contestant in units, the others as multiples of it."""
    table = [["streams", "who", *_HEADINGS, "CPU/token", "tokens", "ended early"]]
    reference = results[0].name
    for result in results:
        start = [str(result.streams), result.name]
        if result.error or not result.medians:
            table.append([*start, "failed", *[""] * 9])
            continue
        is_reference = result.name == reference
        cells = _units(result) if is_reference or not result.ratios else _multiples(result)
        early, tokens = result.medians.ended_early, result.medians.tokens
        table.append([*start, *cells, f"{tokens:g}", f"{early:g}"])
    return table


def contest_failures(results: Sequence[Result]) -> list[str]:
    return [
        f"{result.name} failed at {result.streams} streams: {result.error}"
        for result in results
        if result.error
    ]


def _units(result: Result) -> list[str]:
    figures = result.medians
    assert figures
    times = (figures.ttft_median, figures.ttft_p95, figures.gap_p50, figures.gap_p99)
    cpu = figures.cpu_per_token
    return [
        f"{figures.aggregate:.1f} tok/s",
        f"{figures.per_stream:.1f} tok/s",
        *(milliseconds(seconds) for seconds in (*times, figures.gap_worst)),
        "-" if cpu is None else milliseconds(cpu),
    ]


def _multiples(result: Result) -> list[str]:
    names = (*RATIOS, "cpu_per_token")
    return [f"x {result.ratios[name]:.2f}" if name in result.ratios else "-" for name in names]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average": psutil.getloadavg(),
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions
