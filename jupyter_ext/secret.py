"""The secret in a path, `/t/<secret>/…`, which lets in clients that cannot send a token.

It is random per start and never reaches a log: `conceal` takes it out of a request before anything
is written about it.
"""

import hmac
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

CONCEALED = "[secret]"
_MARK = "/t/"


def new_secret() -> str:
    """192 bits in letters that no client has to escape in a URL."""
    return secrets.token_urlsafe(24)


def split(path: str) -> tuple[str | None, str]:
    """`/t/<secret>/api/tags` → (`<secret>`, `/api/tags`); a path without one → (None, the path)."""
    if not path.startswith(_MARK):
        return None, path
    given, _, rest = path.removeprefix(_MARK).partition("/")
    return given, f"/{rest}"


def matches(given: str, secret: str) -> bool:
    """Compared in constant time; an empty secret matches nothing."""
    return bool(secret) and hmac.compare_digest(given.encode(), secret.encode())


def prefix(secret: str) -> str:
    return f"{_MARK}{secret}" if secret else ""


def conceal(request: HTTPServerRequest, secret: str) -> None:
    """Whatever is logged about this request from here on shows `[secret]`."""
    if not secret:
        return
    request.uri = (request.uri or "").replace(secret, CONCEALED)
    request.path = request.path.replace(secret, CONCEALED)
    if secret in (referer := request.headers.get("Referer", "")):
        request.headers["Referer"] = referer.replace(secret, CONCEALED)


def concealing(
    log_function: Callable[[RequestHandler], Any], secret: str
) -> Callable[[RequestHandler], None]:
    """Jupyter's access log, for requests that missed our routes with the secret in them."""

    @wraps(log_function)
    def log(handler: RequestHandler) -> None:
        conceal(handler.request, secret)
        log_function(handler)

    return log
