"""Clients and features: what the tests of this folder saw, as the table of the documentation.

`pytest.mark.client` on a module names its client, `pytest.mark.feature` on a test what it shows.
"""

from collections import defaultdict
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs/generated/clients.md"
ENGINES = GGUF, MLX = "GGUF", "MLX"
WORKS, FAILS, NOT_RUN = "✓", "✗", "·"
FEATURES = (
    "chat",
    "chat, streamed",
    "completion",
    "completion, streamed",
    "responses",
    "responses, streamed",
    "asynchronous",
    "tools",
    "tools, streamed",
    "structured output",
    "thinking",
    "images",
    "embeddings",
    "token count",
    "log probabilities",
    "list, show, running models",
    "create, copy, delete",
    "pull",
    "errors",
    "in Jupyter, with its token",
)

Sight = tuple[str, str, str]
"""Client, feature, engine."""
Seen = dict[Sight, bool]
"""Whether all its tests passed."""


def text(seen: Seen) -> str:
    """A row a feature, a column a client; empty where no test is, else a mark an engine."""
    clients = sorted({client for client, _, _ in seen}, key=str.lower)
    marks = {None: NOT_RUN, True: WORKS, False: FAILS}

    def cell(client: str, feature: str) -> str:
        found = "".join(marks[seen.get((client, feature, engine))] for engine in ENGINES)
        return found.rstrip(NOT_RUN)

    rows = [
        ["Feature", *clients],
        ["---", *(":-:" for _ in clients)],
        *([feature, *(cell(client, feature) for client in clients)] for feature in FEATURES),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows if any(row[1:]))


def read(table: str) -> Seen:
    """The other way round."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    clients, features = rows[0][1:], rows[2:]
    return {
        (client, row[0], engine): mark == WORKS
        for row in features
        for client, cell in zip(clients, row[1:], strict=True)
        for engine, mark in zip(ENGINES, cell, strict=False)
        if mark != NOT_RUN
    }


class Record:
    """Collects the outcomes of a run, test by test."""

    def __init__(self) -> None:
        self._passed: dict[Sight, list[bool]] = defaultdict(list)
        self._not_run: set[Sight] = set()

    def add(self, client: str, features: tuple[str, ...], outcome: str, engine: str = GGUF) -> None:
        """`outcome` is pytest's: passed, failed or skipped."""
        for feature in features:
            if feature not in FEATURES:
                raise ValueError(f"no feature of the table: {feature}")
            if outcome == "skipped":
                self._not_run.add((client, feature, engine))
            else:
                self._passed[client, feature, engine].append(outcome == "passed")

    @property
    def seen(self) -> Seen:
        return {sight: all(p) for sight, p in self._passed.items() if sight not in self._not_run}

    @property
    def not_run(self) -> set[Sight]:
        """What tests would show that were skipped here."""
        return set(self._not_run)
