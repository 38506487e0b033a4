"""A server to measure, whichever of the two APIs it speaks."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from ollmlx.bench.texts import Message
from ollmlx.bench.timeline import AnswerFailed, Recording, Timeline

Api = Literal["ollama", "openai"]
# A busy machine may read a long prompt for minutes.
_TIMEOUT = httpx.Timeout(600, connect=10)


@dataclass(frozen=True)
class Ask:
    """A request that streams."""

    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """`options` are Ollama's, so an endpoint of the OpenAI API must not have any."""

    url: str
    api: Api
    model: str
    token: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    def completion(self, prompt: str, tokens: int) -> Ask:
        """Go on with a text, greedily, past no template."""
        if self.api == "ollama":
            return Ask("/api/generate", {**self._ollama(tokens), "prompt": prompt, "raw": True})
        return Ask("/v1/completions", {**self._openai(tokens), "prompt": prompt})

    def chat(self, messages: Sequence[Message], tokens: int) -> Ask:
        said = {"messages": list(messages)}
        if self.api == "ollama":
            return Ask("/api/chat", {**self._ollama(tokens), **said})
        return Ask("/v1/chat/completions", {**self._openai(tokens), **said})

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator["Connection", None]:
        headers = {"Accept-Encoding": "identity"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        # A connection each: some servers hang up after an answer without saying so.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        base = self.url.rstrip("/").removesuffix("/v1")
        async with httpx.AsyncClient(
            base_url=base, headers=headers, timeout=_TIMEOUT, limits=limits, trust_env=False
        ) as client:
            yield Connection(client)

    def _ollama(self, tokens: int) -> dict[str, Any]:
        options = {"temperature": 0, "num_predict": tokens, **self.options}
        return {"model": self.model, "stream": True, "options": options}

    def _openai(self, tokens: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": tokens,
        }


class Connection:
    """An endpoint's open client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def answer(self, ask: Ask) -> Timeline:
        """Raises `AnswerFailed`."""
        recording = Recording()
        await self.record(ask, recording)
        return recording.timeline()

    async def answers(self, asks: Sequence[Ask]) -> list[Timeline]:
        """All at once.  Raises the first `AnswerFailed`, when the others have ended as well."""
        done = await asyncio.gather(*map(self.answer, asks), return_exceptions=True)
        for timeline in done:
            if isinstance(timeline, BaseException):
                raise timeline
        return [timeline for timeline in done if isinstance(timeline, Timeline)]

    async def record(self, ask: Ask, recording: Recording) -> None:
        """Returns at the answer's end.  Raises `AnswerFailed`."""
        try:
            async with self._client.stream("POST", ask.path, json=ask.body) as response:
                if not response.is_success:
                    reason = (await response.aread()).decode("utf-8", "replace").strip()
                    raise AnswerFailed(f"{response.status_code} {reason[:200]}")
                async for chunk in response.aiter_raw():
                    recording.add(chunk)
        except httpx.HTTPError as error:
            raise AnswerFailed(f"{type(error).__name__} {error}".strip()) from error
        finally:
            recording.end()


def find_api(url: str, token: str = "") -> Api:
    """Which API a server speaks: Ollama's if it tells Ollama's version.  Raises `AnswerFailed`."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        response = httpx.get(
            f"{url.rstrip('/')}/api/version", headers=headers, timeout=10, trust_env=False
        )
    except httpx.HTTPError as error:
        raise AnswerFailed(f"{type(error).__name__} {error}".strip()) from error
    return "ollama" if response.is_success and b'"version"' in response.content else "openai"
