"""How late Jupyter's event loop is while the extension streams."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx
from msgspec import Struct

from ollmlx.bench import machine, texts
from ollmlx.bench.contest import Tell
from ollmlx.bench.endpoint import Endpoint
from ollmlx.bench.figures import percentile
from ollmlx.bench.report import Bar, Outcome, milliseconds
from ollmlx.bench.served import Served
from ollmlx.bench.timeline import Timeline

LIMIT = 0.020
_POLL_SECONDS = 0.01
_WHO = ("lag", "control", "GET /api")


class Spread(Struct, frozen=True):
    """Of many times, in seconds."""

    count: int
    p50: float
    p99: float
    worst: float


class Lag(Struct, frozen=True):
    """One phase."""

    phase: str
    """`loading`, `idle` or `streaming`."""
    beats: Spread
    """How late the metronome in the server woke up."""
    control: Spread
    """How late a metronome was in a process that did nothing else: the machine's own part."""
    polls: Spread
    """GET /api, asked for from outside: the whole round trip."""
    tokens: int
    """Written in the phase."""


def lag(
    model: str, streams: int, tokens: int, idle_seconds: float, key: str, tell: Tell
) -> Outcome:
    with machine.jupyter_server(streams) as jupyter:
        endpoint = Endpoint(jupyter.url, "ollama", model, jupyter.token)
        served = Served("jupyter", endpoint, jupyter.pid)
        probe = Probe(jupyter)
        tell("loading the model")
        with probe.phase("loading"):
            served.run(texts.prompts(f"{key}/warm", 1, 8), 2)
        tell("listening to the idle server")
        with probe.phase("idle"):
            time.sleep(idle_seconds)
        tell(f"listening to the server under {streams} streams")
        with probe.phase("streaming") as written:
            written += served.run(texts.prompts(key, streams, 32), tokens)
        results = probe.lags
    spreads = [f"{who} {share}" for who in _WHO for share in ("p50", "p99", "worst")]
    table = [["phase", "beats", *spreads]]
    for found in results:
        measured = (found.beats, found.control, found.polls)
        times = [time for spread in measured for time in (spread.p50, spread.p99, spread.worst)]
        table.append([found.phase, str(found.beats.count), *map(milliseconds, times)])
    what = f"seconds of event-loop lag, p99, {streams} streams"
    bars = [Bar(what, found.beats.p99, LIMIT) for found in results if found.phase == "streaming"]
    return Outcome(results, table, bars)


class Probe:
    """Listens to a Jupyter server, phase by phase."""

    def __init__(self, jupyter: machine.Started) -> None:
        self.lags: list[Lag] = []
        headers = {"Authorization": f"Bearer {jupyter.token}"}
        self._options = {"base_url": jupyter.root, "headers": headers, "trust_env": False}

    @contextmanager
    def phase(self, name: str) -> Generator[list[Timeline], None, None]:
        """What is appended to the list is counted as written in the phase."""
        written: list[Timeline] = []
        polls: list[float] = []
        over = threading.Event()
        poller = threading.Thread(target=self._poll, args=(polls, over))
        self._take()
        with machine.metronome() as control:
            poller.start()
            try:
                yield written
            finally:
                over.set()
                poller.join()
        tokens = sum(timeline.tokens for timeline in written)
        lags = (_spread(self._take()), _spread(control), _spread(polls))
        self.lags.append(Lag(name, *lags, tokens))

    def _take(self) -> list[float]:
        with httpx.Client(**self._options, timeout=30) as client:  # type: ignore[arg-type]  # a dict of several types
            response = client.get("/bench/metronome")
            response.raise_for_status()
            lags: list[float] = response.json()["lags"]
            return lags

    def _poll(self, polls: list[float], over: threading.Event) -> None:
        with httpx.Client(**self._options, timeout=30) as client:  # type: ignore[arg-type]  # as above
            while not over.wait(_POLL_SECONDS):
                started = time.perf_counter()
                client.get("/api").raise_for_status()
                polls.append(time.perf_counter() - started)


def _spread(times: list[float]) -> Spread:
    return Spread(len(times), *(percentile(times, share) for share in (50, 99, 100)))
