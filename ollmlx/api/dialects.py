"""How each of the three APIs says what went wrong."""

import secrets
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from ollmlx.wire import anthropic, openai
from ollmlx.wire.native import ErrorResponse

Dialect = Literal["native", "openai", "anthropic"]

_OPENAI_AT_NATIVE_PATHS = ("/api/chat/completions",)
_OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def of_request(path: str, headers: Mapping[str, str]) -> Dialect:
    """Both APIs have `/v1/models`, and only one a header that its requests must have."""
    known = path.startswith("/v1/models") and "anthropic-version" in headers
    if known or path.startswith("/v1/messages"):
        return "anthropic"
    if path.startswith("/v1/") or path in _OPENAI_AT_NATIVE_PATHS:
        return "openai"
    return "native"


def document(dialect: Dialect, status: int, message: str) -> Struct:
    """What stands in the body of an answer with that status."""
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        return anthropic.ErrorResponse("error", anthropic.Error(kind, message), new_id("req"))
    if dialect == "openai":
        kind = _OPENAI_TYPES.get(status, "api_error")
        return openai.ErrorEnvelope(openai.ErrorBody(message, kind))
    return ErrorResponse(message)


def refusal(dialect: Dialect, status: int, message: str) -> Struct:
    """The same before a request gets as far as the API: nobody was let in, or the body is too
    large.
    """
    found: Any = document(dialect, status, message)
    if dialect != "native" and status in (401, 403):
        found.error.type = "authentication_error"
    elif dialect == "openai" and status < 500:
        found.error.type = "invalid_request_error"
    return found  # type: ignore[no-any-return]  # one of the Structs of `document`


def new_id(prefix: str) -> str:
    """As Anthropic names messages and requests: 24 hexadecimal digits."""
    return f"{prefix}_{secrets.token_hex(12)}"
