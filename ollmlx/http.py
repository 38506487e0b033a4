"""Routes as HTTP: bodies in, JSON, NDJSON and server-sent events out.

`exchange` is free of any web framework, so that Ollama's port and Jupyter's mount answer with the
same bytes; `Door` is that port.
"""

import asyncio
import hmac
import html
import posixpath
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, ClassVar

from msgspec import Struct
from tornado import web

from ollmlx.api import dialects
from ollmlx.api.answers import JSON, PLAIN_JSON, Answer, Framing, Stream, Whole, notes
from ollmlx.api.dialects import Dialect
from ollmlx.api.engine import Engine, Upload
from ollmlx.api.routes import Route, find
from ollmlx.errors import Forbidden, Malformed, OllmlxError, Unreadable
from ollmlx.frames import (
    EVENTS,
    LINES,
    MAX_UPLOAD,
    Body,
    Frame,
    Head,
    Request,
    StreamingHandler,
)
from ollmlx.origins import allowed_host, cors_headers, host_is_address, preflight_headers
from ollmlx.wire import form
from ollmlx.wire.compressed import decompress
from ollmlx.wire.decode import decode, from_query
from ollmlx.wire.encode import encode
from ollmlx.wire.native import ErrorResponse

TEXT = "text/plain"


async def exchange(engine: Engine, request: Request) -> AsyncGenerator[Frame, None]:
    """Answer a request: a `Head`, then the body as it comes.  Closing it cancels the request."""
    try:
        async with aclosing(_exchange(engine, request)) as frames:
            async for frame in frames:
                yield frame
    finally:
        if request.upload:
            request.upload.close()


async def _exchange(engine: Engine, request: Request) -> AsyncGenerator[Frame, None]:
    route, parameter, methods = find(request.method, request.path)
    if not route:
        head, body = _unrouted(request, methods)
        yield head
        yield body
        return
    dialect = dialects.of_request(request.path, request.headers)
    noted = notes()
    try:
        _check_page(route, request)
        answer: Answer = await route.operation(engine, await _argument(route, parameter, request))
        head, chunks = await _begin(answer, dialect)
        head.headers.extend(noted.items())
    except OllmlxError as error:
        head, body = _failure(error, dialect)
        yield head
        yield body
        return
    async with aclosing(chunks):
        yield head
        async for chunk in chunks:
            yield chunk


def _check_page(route: Route, request: Request) -> None:
    """A page of strangers can have a picture fetched without telling its origin; an estimate asks
    the registry that it names, which learns who asks.  Raises `Forbidden`.
    """
    headers = request.headers
    afar = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if afar and "origin" not in headers and route.path.startswith("/api/ollmlx/"):
        raise Forbidden("pages of other origins have to tell theirs")


def streams_body(method: str, path: str) -> bool:
    """Whether a request's body is to be handed over as `Request.upload`."""
    route, _, _ = find(method, path)
    return route is not None and route.streams_body


def refusal(request: Request, status: int, message: str) -> bytes:
    """The body of an answer to a request that goes no further, as its API writes errors."""
    return encode(
        dialects.refusal(dialects.of_request(request.path, request.headers), status, message)
    )


async def _argument(route: Route, parameter: str, request: Request) -> Any:
    if route.streams_body:
        assert request.upload
        return Upload(parameter, request.upload.chunks())
    if route.form:
        content_type = request.headers.get("content-type", "")
        return await asyncio.to_thread(form.parse, content_type, request.body)
    if not route.request:
        return parameter
    if route.method == "GET":
        value = from_query(request.query, route.request)
    else:
        value = decode(await _body(route, request), route.request, route.when_empty)
    headers = request.headers
    for name, given in {
        "parameter": parameter,
        "user_agent": headers.get("user-agent", ""),
        "anthropic_version": headers.get("anthropic-version", ""),
    }.items():
        if hasattr(value, name):
            setattr(value, name, given)
    return value


async def _body(route: Route, request: Request) -> bytes:
    if route.compressible and request.headers.get("content-encoding") == "zstd":
        return await asyncio.to_thread(decompress, request.body)
    return request.body


async def _begin(answer: Answer, dialect: Dialect) -> tuple[Head, AsyncGenerator[bytes, None]]:
    """The head and the rest; what fails before the first frame still has a status of its own."""
    if isinstance(answer, Whole):
        headers = [("Content-Type", answer.content_type)] if answer.body is not None else []
        return Head(answer.status, headers), _document(answer)
    first = await anext(answer.frames, None)
    return Head(200, _stream_headers(answer.framing)), _framed(answer, first, dialect)


def _stream_headers(framing: Framing) -> list[tuple[str, str]]:
    # A proxy that collects a stream defeats it.
    unbuffered = ("X-Accel-Buffering", "no")
    if framing == "events":
        kept = [("Cache-Control", "no-cache"), ("Connection", "keep-alive")]
        return [("Content-Type", EVENTS), *kept, unbuffered]
    kind = LINES if framing == "ndjson" else EVENTS
    return [("Content-Type", kind), ("Cache-Control", "no-cache, no-transform"), unbuffered]


async def _document(answer: Whole) -> AsyncGenerator[bytes, None]:
    if isinstance(answer.body, str):
        yield answer.body.encode()
    elif answer.body is not None:
        yield encode(answer.body) + answer.ending.encode()


async def _framed(answer: Stream, first: Any, dialect: Dialect) -> AsyncGenerator[bytes, None]:
    async with aclosing(answer.frames):
        if first is None:
            return
        yield _frame(first, answer.framing)
        try:
            async for item in answer.frames:
                yield _frame(item, answer.framing)
        except OllmlxError as error:
            told = answer.failed(error) if answer.failed else _told(error, dialect)
            yield _frame(told, answer.framing)


def _frame(item: Any, framing: Framing) -> bytes:
    data = item.encode() if isinstance(item, str) else encode(item)
    if framing == "ndjson":
        return data + b"\n"
    name = f"event: {item.type}\n".encode() if framing == "events" else b""
    return name + b"data: " + data + b"\n\n"


def _told(error: OllmlxError, dialect: Dialect) -> Struct:
    return dialects.document(dialect, error.status, str(error))


def _failure(error: OllmlxError, dialect: Dialect) -> tuple[Head, bytes]:
    if isinstance(error, Unreadable):
        dialect = "native"  # Ollama fails before it looks which API was meant
    body = encode(_told(error, dialect))
    if dialect == "native" or isinstance(error, Malformed):
        label = PLAIN_JSON if error.in_stream else JSON
        return Head(error.status, [("Content-Type", label)]), body
    return Head(error.status, [("Content-Type", PLAIN_JSON)]), body + b"\n"


def _unrouted(request: Request, methods: list[str]) -> tuple[Head, bytes]:
    if methods:
        allow = ("Allow", ", ".join(methods))
        return Head(405, [("Content-Type", TEXT), allow]), b"405 method not allowed"
    path = request.path
    clean = posixpath.normpath(f"/{path.lstrip('/')}")
    if path.endswith("/") and clean != "/":
        clean += "/"
    slashed = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    if clean != path and path.startswith("/"):
        return _moved(307, clean, request)
    if find(request.method, slashed)[0]:
        return _moved(301 if request.method == "GET" else 307, slashed, request)
    return Head(404, [("Content-Type", TEXT)]), b"404 page not found"


def _moved(status: int, path: str, request: Request) -> tuple[Head, bytes]:
    """Elsewhere, with words for browsers where one may be reading."""
    where = f"{path}?{request.query}" if request.query else path
    if request.method not in ("GET", "HEAD"):
        return Head(status, [("Location", where)]), b""
    words = "Moved Permanently" if status == 301 else "Temporary Redirect"
    head = Head(status, [("Location", where), ("Content-Type", "text/html; charset=utf-8")])
    body = f'<a href="{html.escape(where)}">{words}</a>.\n\n'.encode()
    return head, b"" if request.method == "HEAD" else body


# -- the open door ---------------------------------------------------------------------------------


@web.stream_request_body
class Door(StreamingHandler):
    """Ollama's own port.  Loopback callers need no token, so Host and Origin are checked as Ollama
    does.
    """

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = (  # type: ignore[misc]  # tornado declares a str tuple
        *("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS", "TRACE", "CONNECT"),
    )

    def initialize(self, engine: Engine, loopback: bool, secret: str) -> None:
        self._engine, self._loopback, self._secret = engine, loopback, secret
        self._answering: asyncio.Task[None] | None = None
        self._received: list[bytes] = []
        self._ruled: int | None = None
        self._upload: Body | None = None

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.clear_header("Content-Type")

    def compute_etag(self) -> None:
        """None: an answer is never the same twice."""

    async def prepare(self) -> None:
        self._ruled = self._rule()
        if self._ruled is None and streams_body(self.request.method or "", self._path()):
            connection: Any = self.request.connection
            connection.set_max_body_size(MAX_UPLOAD)
            self._upload = Body(asyncio.get_running_loop())
            self._answering = asyncio.ensure_future(self._answer())

    def _rule(self) -> int | None:
        """The status that Ollama's rules answer with, None where the request may go on.

        Told only after the body: tornado closes a connection whose request is answered before.
        """
        headers = self.request.headers
        host, origin = headers.get("Host", ""), headers.get("Origin", "")
        preflight = self.request.method == "OPTIONS"
        rule = preflight_headers if preflight and origin else cors_headers
        allowed = rule(origin, host, self._engine.settings.origins)
        if allowed is None or (self._loopback and not allowed_host(host)):
            return 403
        for name, value in allowed:
            self.add_header(name, value)
        cross = preflight and origin and allowed
        return 204 if cross or (preflight and not host_is_address(host)) else None

    async def data_received(self, chunk: bytes) -> None:
        if self._upload:
            await self._upload.put(chunk)
        elif self._ruled is None:
            self._received.append(chunk)

    async def _serve(self, *_: str) -> None:
        if self._ruled is not None:
            found = find(self.request.method or "", self._path())
            if found[2] and not found[0]:
                self.set_header("Allow", ", ".join(found[2]))
            self.set_status(self._ruled)
            return
        if self._upload:
            await self._upload.put(None)
        self._answering = self._answering or asyncio.ensure_future(self._answer())
        with suppress(asyncio.CancelledError):  # only `on_connection_close` cancels it
            await self._answering

    get = head = post = delete = patch = put = options = trace = connect = _serve

    def write_error(self, status_code: int, **_: Any) -> None:
        """What nobody foresaw (the log has its traceback) and methods unknown to tornado."""
        if status_code == 405:
            request = self._asked()
            head, body = _unrouted(request, find(request.method, request.path)[2])
            self._begin(head)
            self.set_header("Connection", "close")  # tornado does so without a word
            self.finish(body)
            return
        self.set_header("Content-Type", JSON)
        self.finish(encode(ErrorResponse("internal server error")))

    def on_connection_close(self) -> None:
        if self._answering:
            self._answering.cancel()

    def _asked(self) -> Request:
        headers = {name.lower(): value for name, value in self.request.headers.get_all()}
        method, body = self.request.method or "", b"".join(self._received)
        return Request(method, self._path(), headers, body, self._upload, self.request.query)

    async def _answer(self) -> None:
        async with aclosing(exchange(self._engine, self._asked())) as frames:
            async for frame in frames:
                if isinstance(frame, Head):
                    self._begin(frame)
                else:
                    self.write_piece(frame)

    def _begin(self, head: Head) -> None:
        before = self.request.path.removesuffix(self._path())  # the secret, if there is one
        self.set_status(head.status)
        for name, value in head.headers:
            self.set_header(name, before + value if name == "Location" else value)

    def _path(self) -> str:
        """The path below the secret; a wrong secret leads nowhere."""
        path = self.request.path
        if not self._secret:
            return path
        _, t, secret, rest = [*path.split("/", 3), "", "", ""][:4]
        right = t == "t" and hmac.compare_digest(secret.encode(), self._secret.encode())
        return f"/{rest}" if right else "\0"


def make_door(engine: Engine, loopback: bool, secret: str = "") -> web.Application:
    """`loopback`: whether the listener is on a loopback address, where the Host rule holds."""
    arguments = {"engine": engine, "loopback": loopback, "secret": secret}
    # No access log: with a secret, the path is one.
    return web.Application([(r".*", Door, arguments)], log_function=lambda handler: None)
