"""Clients and features: what the tests of this folder saw, as the table of the documentation.

`pytest.mark.client` on a module names its client, `pytest.mark.feature` on a test what it shows.
"""

from collections import defaultdict
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs/generated/clients.md"
WORKS, FAILS = "✓", "✗"
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

Seen = dict[tuple[str, str], bool]
"""(client, feature) → whether all its tests passed."""


def text(seen: Seen) -> str:
    """A row a feature, a column a client; empty where no test is."""
    clients = sorted({client for client, _ in seen}, key=str.lower)
    cells = {pair: WORKS if passed else FAILS for pair, passed in seen.items()}
    rows = [
        ["Feature", *clients],
        ["---", *(":-:" for _ in clients)],
        *([f, *(cells.get((client, f), "") for client in clients)] for f in FEATURES),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows if any(row[1:]))


def read(table: str) -> Seen:
    """The other way round."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    clients, features = rows[0][1:], rows[2:]
    return {
        (client, row[0]): cell == WORKS
        for row in features
        for client, cell in zip(clients, row[1:], strict=True)
        if cell
    }


class Record:
    """Collects the outcomes of a run, test by test."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, str], list[bool]] = defaultdict(list)
        self._not_run: set[tuple[str, str]] = set()

    def add(self, client: str, features: tuple[str, ...], outcome: str) -> None:
        """`outcome` is pytest's: passed, failed or skipped."""
        for feature in features:
            if feature not in FEATURES:
                raise ValueError(f"no feature of the table: {feature}")
            if outcome == "skipped":
                self._not_run.add((client, feature))
            else:
                self._passed[client, feature].append(outcome == "passed")

    @property
    def seen(self) -> Seen:
        return {pair: all(p) for pair, p in self._passed.items() if pair not in self._not_run}

    @property
    def not_run(self) -> set[tuple[str, str]]:
        """What tests would show that were skipped here."""
        return set(self._not_run)
