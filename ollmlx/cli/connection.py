"""The server that the command speaks to: Ollama's API over HTTP, its errors in Ollama's words."""

import http
import json
import os
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

from ollmlx import servers
from ollmlx.errors import OllmlxError

Document = dict[str, Any]
_CONNECT_SECONDS = 30.0


class Unreachable(OllmlxError):
    """Nobody listens where the server should be."""

    def __init__(self) -> None:
        super().__init__("could not connect to ollama server, run 'ollmlx serve' to start it")


class Interrupted(OllmlxError):
    """The connection failed, or ended before the answer did."""


class Refused(OllmlxError):
    """The server answered with an error."""

    def __init__(
        self, message: str, status: int = 200, streamed: bool = False, sign_in_url: str = ""
    ) -> None:
        line = f"{status} {_phrase(status)}".rstrip()
        if streamed:
            message = f"{line}: {message}" if message else line
        # An answer without a text is a proxy's, or a Jupyter server's that wants its token.
        super().__init__(message or line)
        self.code = status
        self.sign_in_url = sign_in_url
        """Where a refusal for want of an account says that one signs in."""

    @property
    def unauthorized(self) -> bool:
        return self.code == http.HTTPStatus.UNAUTHORIZED

    @property
    def missing(self) -> bool:
        return self.code == http.HTTPStatus.NOT_FOUND


def server(environment: Mapping[str, str] = os.environ) -> servers.Server:
    """OLLMLX_HOST and OLLAMA_HOST are taken at their word; else whoever answers, a Jupyter server
    first.

    Raises `servers.NoServer`.
    """
    named = environment.get("OLLMLX_HOST") or environment.get("OLLAMA_HOST")
    return servers.find(named or None, environment)


class _Vectors(msgspec.Struct):
    embeddings: list[msgspec.Raw] = []


class Connection:
    def __init__(self, far_end: servers.Server) -> None:
        self.place = far_end.place
        self.local = far_end.local
        timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        self._http = httpx.Client(timeout=timeout, **far_end.options)
        self._url = far_end.url

    def close(self) -> None:
        self._http.close()

    def greet(self) -> None:
        """Raises `Unreachable`, `Refused`, and `Interrupted` for what else is in the way."""
        with self._open("HEAD", "/") as response:
            if response.status_code == http.HTTPStatus.FORBIDDEN:  # without a text, as all of HEAD
                wants = "a Jupyter server wants its token in OLLAMA_API_KEY"
                raise Refused(f"{self.place} does not let us in: {wants}", response.status_code)
            if response.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
                below = f"a Jupyter server has it at {self.place}/ollama"
                raise Refused(f"no Ollama API is at {self.place}; {below}", response.status_code)
            _check(response)

    def get(self, path: str) -> Document:
        return self._whole("GET", path)

    def post(self, path: str, request: Document | None = None) -> Document:
        return self._whole("POST", path, request)

    def embedding(self, request: Document) -> str:
        """The first vector that /api/embed answers with, in the server's own digits."""
        with self._open("POST", "/api/embed", json=request) as response:
            _check(response)
            vectors = msgspec.json.decode(response.read(), type=_Vectors).embeddings
        if not vectors:
            raise Refused("no embeddings returned")
        return bytes(vectors[0]).decode()

    def delete(self, path: str, request: Document) -> None:
        self._whole("DELETE", path, request)

    def has(self, path: str) -> bool:
        """Whether there is such a thing."""
        with self._open("HEAD", path) as response:
            return response.is_success

    def upload(self, path: str, chunks: Iterator[bytes]) -> None:
        with self._open("POST", path, content=chunks) as response:
            _check(response)

    def stream(self, path: str, request: Document) -> Generator[Document, None, None]:
        """The lines of an answer, as they come.  Raises `Refused` for one that is an error."""
        with self._open("POST", path, json=request) as response:
            _check(response, streamed=True)
            for line in response.iter_lines():
                frame = _object(line)
                if error := frame.get("error"):
                    raise Refused(str(error))
                yield frame

    def _whole(self, method: str, path: str, request: Document | None = None) -> Document:
        with self._open(method, path, json=request) as response:
            _check(response)
            body = response.read()
        return _object(body) if body not in (b"", b"null") else {}

    @contextmanager
    def _open(self, method: str, path: str, **body: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, self._url + path, **body) as response:
                yield response
        except httpx.HTTPError as error:
            causes = {type(cause): cause for cause in _causes(error)}
            if ConnectionRefusedError in causes:
                raise Unreachable from error
            why = str(error) or type(error).__name__
            if socket.gaierror in causes:
                why = f"dial tcp: lookup {httpx.URL(self._url).host}: no such host"
            what = f'{method.capitalize()} "{self.place}{path}"'
            raise Interrupted(f"{what}: {why}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came of: the HTTP library wraps the system's in its own."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _check(response: httpx.Response, streamed: bool = False) -> None:
    if response.is_success:
        return
    body = response.read()
    try:
        answer = json.loads(body)
        told, url = str(answer.get("error", "")), str(answer.get("signin_url", ""))
    except (ValueError, AttributeError):  # a proxy's page, say
        told, url = body.decode(errors="replace").strip(), ""
    raise Refused(told, response.status_code, streamed, url)


def _object(text: str | bytes) -> Document:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Interrupted(f"the server sent no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Interrupted("the server sent JSON that is no object")
    return value


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
