"""A Jupyter extension that listens to the server's event loop; only the benchmark switches it on.

It wants to wake up every few milliseconds and notes how late it was.  GET /bench/metronome gives
the lags since the last call.  Run as a program it beats in a process of its own, which shows how
late the machine alone makes it, and writes the lags of all its life when its stdin ends.
"""

import asyncio
import json
import sys
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

PERIOD = 0.005
"""Seconds between two wake-ups."""


class Metronome:
    def __init__(self) -> None:
        self._lags: list[float] = []

    async def beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD
            await asyncio.sleep(PERIOD)
            self._lags.append(max(0.0, loop.time() - due))

    def take(self) -> list[float]:
        """Seconds of lateness of each beat since the last call."""
        lags, self._lags = self._lags, []
        return lags


class MetronomeHandler(APIHandler):
    def initialize(self, metronome: Metronome) -> None:
        self._metronome = metronome

    @web.authenticated
    def get(self) -> None:
        self.finish({"lags": self._metronome.take()})


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    metronome = Metronome()
    route = url_path_join(app.web_app.settings["base_url"], "bench", "metronome")
    app.web_app.add_handlers(".*$", [(route, MetronomeHandler, {"metronome": metronome})])
    # Kept by the server for as long as it lives: a loop holds its tasks only weakly.
    app.web_app.settings["bench_metronome"] = app.io_loop.asyncio_loop.create_task(metronome.beat())


async def _alone() -> None:
    metronome = Metronome()
    beating = asyncio.create_task(metronome.beat())
    await asyncio.to_thread(sys.stdin.read)
    beating.cancel()
    sys.stdout.write(json.dumps(metronome.take()))


if __name__ == "__main__":
    asyncio.run(_alone())
