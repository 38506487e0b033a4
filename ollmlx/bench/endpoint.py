"""A server to measure, whichever of the two APIs it speaks."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import h11
import httpx
import msgspec

from ollmlx.bench.texts import Message
from ollmlx.bench.timeline import AnswerFailed, Recording, Stamped, Timeline

Api = Literal["ollama", "openai"]
_PATIENCE, _PATIENCE_TO_CONNECT = 600, 10
"""Seconds: a busy machine may read a long prompt for minutes."""
_PAUSES = (type(h11.NEED_DATA), type(h11.PAUSED), h11.EndOfMessage)


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


async def answers(endpoint: Endpoint, asks: Sequence[Ask]) -> list[Timeline]:
    """All at once.  Raises the first `AnswerFailed`, when the others have ended as well."""
    done = await asyncio.gather(*(answer(endpoint, ask) for ask in asks), return_exceptions=True)
    for timeline in done:
        if isinstance(timeline, BaseException):
            raise timeline
    return [timeline for timeline in done if isinstance(timeline, Timeline)]


async def answer(endpoint: Endpoint, ask: Ask) -> Timeline:
    """Raises `AnswerFailed`."""
    recording = Recording()
    await record(endpoint, ask, recording)
    return recording.timeline()


async def record(endpoint: Endpoint, ask: Ask, recording: Recording) -> None:
    """Returns at the answer's end.  Raises `AnswerFailed`.

    What came is parsed when all is there: a client that parses on the way takes half a millisecond
    for a token, from the cores that the server computes on.
    """
    http, status = h11.Connection(h11.CLIENT), 0
    try:
        async with _connected(endpoint.url) as (reader, writer):
            for part in _request(endpoint, ask):
                writer.write(http.send(part) or b"")
            while data := await asyncio.wait_for(reader.read(1 << 16), _PATIENCE):
                recording.add(data)
    except (OSError, TimeoutError) as error:
        raise AnswerFailed(f"{type(error).__name__} {error}".strip()) from error
    finally:
        status, recording.chunks = _parsed(http, recording.chunks)
        recording.end()
    if status != 200:
        reason = b"".join(data for _, data in recording.chunks).decode("utf-8", "replace").strip()
        raise AnswerFailed(f"{status} {reason[:200]}" if status else "hung up without an answer")


@asynccontextmanager
async def _connected(
    url: str,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """A connection for one answer: some servers hang up after one without saying so."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    opening = asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None
    )
    reader, writer = await asyncio.wait_for(opening, _PATIENCE_TO_CONNECT)
    try:
        yield reader, writer
    finally:
        writer.close()


def _request(endpoint: Endpoint, ask: Ask) -> Iterator[h11.Event]:
    url, body = urlsplit(endpoint.url), msgspec.json.encode(ask.body)
    headers = {
        "Host": url.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    if endpoint.token:
        headers["Authorization"] = f"Bearer {endpoint.token}"
    path = url.path.rstrip("/").removesuffix("/v1") + ask.path
    yield h11.Request(method="POST", target=path, headers=list(headers.items()))
    yield h11.Data(body)
    yield h11.EndOfMessage()


def _parsed(http: h11.Connection, received: Sequence[Stamped]) -> tuple[int, list[Stamped]]:
    """An answer's status, 0 where there is none, and its body as it came."""
    status, body = 0, list[Stamped]()
    try:
        for stamp, data in received:
            http.receive_data(data)
            while not isinstance(event := http.next_event(), _PAUSES):
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body.append((stamp, bytes(event.data)))
    except h11.RemoteProtocolError:
        return 0, body
    return status, body


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
