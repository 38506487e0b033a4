"""A server as a contestant."""

import asyncio
from collections.abc import Sequence

from ollmlx.bench import machine
from ollmlx.bench.endpoint import Endpoint, answers
from ollmlx.bench.timeline import Timeline


class Served:
    """Whatever answers at an endpoint; `pid` where it is known already."""

    def __init__(self, name: str, endpoint: Endpoint, pid: int | None = None) -> None:
        self.name, self._endpoint = name, endpoint
        self._pid = machine.listener(endpoint.url) if pid is None else pid

    def run(self, prompts: Sequence[str], tokens: int) -> list[Timeline]:
        return asyncio.run(self._run(prompts, tokens))

    def cpu_seconds(self) -> float | None:
        return None if self._pid is None else machine.cpu_seconds(self._pid)

    async def _run(self, prompts: Sequence[str], tokens: int) -> list[Timeline]:
        asks = [self._endpoint.completion(prompt, tokens) for prompt in prompts]
        return await answers(self._endpoint, asks)
