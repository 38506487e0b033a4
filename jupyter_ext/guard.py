"""Who may come in: Jupyter's authentication, in every form that clients carry it.

Jupyter's cookie (with its XSRF token), its or the Hub's token, and the secret in the path open the
mount; a server that runs without authentication opens it to programs on the same machine.  A
refusal is a status, never a login page.
"""

import base64
import binascii
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

from jupyter_core.utils import ensure_async
from jupyter_server.auth import User
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.call_context import CallContext
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError

from jupyter_ext import secret
from ollmlx.origins import allowed_host, cors_headers, preflight_headers
from ollmlx.room import Room

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip")
_WRITES = (
    *("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/"),
    "/api/ollmlx/jobs",
)
_NO_CREDENTIALS = (
    "authentication required: send the Jupyter server's token as `Authorization: Bearer`, "
    "`x-api-key` or password, or use the address with the secret path"
)
_BEARER_OF_THE_SECRET = User(username="ollmlx-secret-path")


@dataclass(frozen=True)
class Mount:
    """What the routes below one prefix share."""

    room: Room
    path: str
    """What stands before Ollama's paths, as `/user/ann/ollama`; nothing where that is the root."""
    secret: str
    origins: tuple[str, ...]
    """Browser origins allowed besides Ollama's defaults."""
    hosts: frozenset[str]
    """Host names allowed besides Ollama's and Jupyter's."""
    max_body: int
    """Largest request body in bytes."""


class GuardedHandler(ExtensionHandlerMixin, JupyterHandler):
    """Lets a request through to its method when it may come in, with `path` as Ollama names it.

    Not an `APIHandler`: that one writes errors in Jupyter's form, and is deaf to preflights from
    Ollama's origins.
    """

    auth_resource = "ollmlx"
    path = "/"
    _by_secret = False

    def initialize(self, name: str, mount: Mount) -> None:
        super().initialize(name)
        self.mount = mount
        self.below = self.request.path.removeprefix(mount.path) or "/"
        given, self.path = secret.split(self.below)
        if given is not None:
            self._by_secret = secret.matches(given, mount.secret)
            secret.conceal(self.request, given)
        secret.conceal(self.request, mount.secret)

    async def prepare(self) -> None:  # type: ignore[override]  # Jupyter's has a private keyword
        _translate_credentials(self.request.headers)
        if self._by_secret:
            self._admit_bearer_of_the_secret()
        else:
            await super().prepare()
        if self.request.method != "OPTIONS":
            await self._admit()

    @property
    def action(self) -> str:
        """What Jupyter's authorizer is asked about: read, write or execute."""
        path = unquote(self.path)  # as routes are found
        if self.request.method in ("GET", "HEAD") or path == "/api/show":
            return "read"
        return "write" if path.startswith(_WRITES) else "execute"

    @allow_unauthenticated
    def options(self, *args: str) -> None:
        """A preflight has no credentials: it asks whether the request to come may be sent."""
        if (origin := self.request.headers.get("Origin")) is not None:
            if not (self._origin_is_known(origin) or _announces_token(self.request.headers)):
                raise HTTPError(403, f"origin {origin} is not allowed")
            for name in ("Vary", "Access-Control-Allow-Origin"):
                self.clear_header(name)
            for name, value in preflight_headers(origin, self.request.host, (origin,)) or []:
                self.add_header(name, value)
        self.set_status(204)

    def get_login_url(self) -> str:
        """Jupyter would send a GET to its login page; a program wants a status."""
        raise HTTPError(403, _NO_CREDENTIALS)

    def check_host(self) -> bool:
        """Ollama's names besides Jupyter's: Docker calls us `host.docker.internal`."""
        known = self.request.host_name in self.mount.hosts or allowed_host(self.request.host)
        return known or super().check_host()

    def check_xsrf_cookie(self) -> None:
        """Programs have no cookie: without authentication, those on this machine need none."""
        if not getattr(self, "_jupyter_current_user", None):
            return  # too early, or nobody: `_admit` refuses with a better reason
        if not self.check_origin():
            raise HTTPError(403, f"origin {self.get_origin()} is not allowed")
        if self.identity_provider.auth_enabled or not self._is_local_program():
            super().check_xsrf_cookie()

    def set_cors_headers(self) -> None:
        if "Origin" not in self.request.headers:
            return  # Jupyter would write an empty Access-Control-Allow-Origin
        self.set_header("Vary", "Origin")
        if not self._by_secret:
            super().set_cors_headers()
        if self._by_secret or self.request.method == "OPTIONS":
            for name, value in self._ollama_cors_headers() or []:
                self.set_header(name, value)

    def set_cookie(self, name: str, value: str | bytes, *args: Any, **kwargs: Any) -> None:
        """An API sets no cookies; Jupyter would send a new `username-…` with every token."""

    def _admit_bearer_of_the_secret(self) -> None:
        CallContext.set(CallContext.JUPYTER_HANDLER, self)  # as Jupyter's own `prepare` does
        self.current_user = self._jupyter_current_user = None
        if not self.check_host():
            raise HTTPError(403, f"host {self.request.host} is not allowed")
        self.set_cors_headers()
        origin = self.request.headers.get("Origin")
        if origin is not None and not self._origin_is_known(origin):
            # An address leaks more easily than a token, so it does not open the door to any page.
            raise HTTPError(403, f"origin {origin} is not allowed")
        self.current_user = self._jupyter_current_user = _BEARER_OF_THE_SECRET

    async def _admit(self) -> None:
        user = self.current_user
        if user is None:
            raise HTTPError(403, _NO_CREDENTIALS)
        if not self._by_secret and not self.check_origin():
            raise HTTPError(403, f"origin {self.get_origin()} is not allowed")
        verdict = self.authorizer.is_authorized(self, user, self.action, self.auth_resource)
        if not await ensure_async(verdict):
            raise HTTPError(403, f"user is not authorized to {self.action} {self.auth_resource}")

    def _origin_is_known(self, origin: str) -> bool:
        """Same origin, Ollama's defaults, OLLAMA_ORIGINS, or Jupyter's own `allow_origin`."""
        allowed_by_jupyter = self._headers.get("Access-Control-Allow-Origin") in ("*", origin)
        return allowed_by_jupyter or self._ollama_cors_headers() is not None

    def _ollama_cors_headers(self) -> list[tuple[str, str]] | None:
        origin = self.request.headers.get("Origin", "")
        return cors_headers(origin, self.request.host, self.mount.origins)

    def _is_local_program(self) -> bool:
        headers = self.request.headers
        if any(name in headers for name in _FORWARDED):
            return False
        try:
            local = ip_address(self.request.remote_ip or "").is_loopback
        except ValueError:  # a Unix socket, behind which a proxy may be
            return False
        return local and headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")


def _translate_credentials(headers: HTTPHeaders) -> None:
    """Jupyter's and the Hub's identity providers read a token from one header: put it there."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        token = _basic_password(value)
    else:
        token = "" if scheme else headers.get("X-Api-Key", "")
    if token:
        headers["Authorization"] = f"token {token}"


def _basic_password(value: str) -> str:
    """`http://anything:<token>@host` arrives as Basic; so does `http://<token>@host`."""
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or name


def _announces_token(headers: HTTPHeaders) -> bool:
    """Whether the request to come will carry a token, which then decides, as in Jupyter."""
    announced = headers.get("Access-Control-Request-Headers", "").lower().split(",")
    return not {name.strip() for name in announced}.isdisjoint({"authorization", "x-api-key"})
