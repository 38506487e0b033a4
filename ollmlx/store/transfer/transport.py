"""HTTP for bodies of any size, from threads, that can be hung up from outside.

The standard library and not httpx: reading costs a third of the processor time, which is what
bounds a download from a near registry.
"""

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from functools import cache, partial
from http.client import HTTPResponse
from threading import Event, Lock
from typing import Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakSet

import httpx

from ollmlx.errors import OllmlxError
from ollmlx.settings import is_loopback

STALL_SECONDS = 30.0
"""Without a byte for so long, a connection is dead."""
_MOST_ERROR_BYTES, _BLOCK = 1 << 16, 1 << 18


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


Body = bytes | _Readable


class Unreachable(OllmlxError):
    """No answer, or half of one; worded as Go's HTTP client does."""

    def __init__(self, method: str, url: str, reason: str) -> None:
        # Without the query, which in signed addresses is a secret.
        super().__init__(f'{method.capitalize()} "{url.partition("?")[0]}": {reason}')


class Stalled(Unreachable):
    """The server stopped sending."""


class Refused(OllmlxError):
    """An answer that says no."""

    def __init__(self, code: int, text: str, headers: Message) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.headers = code, text, headers


class HungUp(OllmlxError):
    """Whoever wanted this has left."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class Session:
    """The requests of one piece of work, from any of its threads."""

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = Lock()
        self._left = Event()
        opener = urllib.request.OpenerDirector()
        for handler in (
            _Proxies(),
            _Plain(self),
            _Secure(self),
            urllib.request.HTTPDefaultErrorHandler(),
            _Redirects(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        self._opener = opener

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        timeout: float = STALL_SECONDS,
    ) -> HTTPResponse:
        """An answer below 400, redirects followed for GET and HEAD, its body unread.

        Raises `Refused`, `Unreachable` or `HungUp`.
        """
        self.check()
        try:
            request = urllib.request.Request(url, body, dict(headers or {}), method=method)
            return self._opener.open(request, timeout=timeout)  # type: ignore[no-any-return]  # typeshed leaves it open
        except urllib.error.HTTPError as error:
            raise _refused(method, url, error) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.check()
            raise unreachable(method, url, error) from error

    def hang_up(self) -> None:
        """End every request, now and from now on, with `HungUp`.  Idempotent."""
        self._left.set()
        with self._lock:
            for opened in self._sockets:
                with suppress(OSError):  # it is closed already
                    opened.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Raises `HungUp`."""
        if self._left.is_set():
            raise HungUp

    def wait(self, seconds: float) -> None:
        """Raises `HungUp` as soon as that happens."""
        if self._left.wait(seconds):
            raise HungUp

    def keep(self, opened: socket.socket) -> None:
        with self._lock:
            self._sockets.add(opened)
        if self._left.is_set():
            self.hang_up()


def unreachable(method: str, url: str, error: Exception) -> Unreachable:
    """What the standard library raised while asking or reading, in Go's words."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    kind = Stalled if isinstance(reason, TimeoutError) else Unreachable
    return kind(method, url, _worded(reason, urlsplit(url)))


def _worded(reason: Any, url: Any) -> str:
    match reason:
        case socket.gaierror():
            return f"dial tcp: lookup {url.hostname}: no such host"
        case ConnectionRefusedError():
            return f"dial tcp {url.netloc}: connect: connection refused"
        case ssl.SSLCertVerificationError():
            return f"tls: failed to verify certificate: {reason.verify_message}"
        case ssl.SSLError() if reason.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return "http: server gave HTTP response to HTTPS client"
        case TimeoutError():
            return "i/o timeout"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead():
            return "unexpected EOF"
        case OSError():
            return reason.strerror or str(reason)
    return str(reason)


def _refused(method: str, url: str, error: urllib.error.HTTPError) -> OllmlxError:
    if error.code in (301, 302, 303, 307, 308) and method in ("GET", "HEAD"):
        error.close()
        return Unreachable(method, url, "stopped after 10 redirects")
    with error, suppress(OSError, http.client.HTTPException):
        text = error.read(_MOST_ERROR_BYTES).decode("utf-8", "replace").strip()
        return Refused(error.code, text or str(error.reason), error.headers)
    return Refused(error.code, str(error.reason), error.headers)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Followed, but who we are is told to nobody else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following:
            following.method = req.get_method()
            if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
                following.remove_header("Authorization")
        return following


class _Proxies(urllib.request.ProxyHandler):
    """Those of the environment, but as in Go never to this machine: it would be the proxy's own."""

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:
        if is_loopback(urlsplit(req.full_url).hostname or ""):
            return None
        return super().proxy_open(req, proxy, type)


class _Connection(http.client.HTTPConnection):
    """One whose socket the session can shut."""

    def __init__(self, session: Session, host: str, **arguments: Any) -> None:
        super().__init__(host, blocksize=_BLOCK, **arguments)
        self._session = session

    def connect(self) -> None:
        super().connect()
        self._session.keep(self.sock)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """The same over TLS."""


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(_Connection, self._session), req)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, session: Session) -> None:
        super().__init__(context=_certificates())
        self._session = session

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        connection = partial(_SecureConnection, self._session)
        return self.do_open(connection, req, context=_certificates())


@cache
def _certificates() -> ssl.SSLContext:
    """Those httpx trusts: SSL_CERT_FILE, else certifi's, which every Python has."""
    return httpx.create_ssl_context()
