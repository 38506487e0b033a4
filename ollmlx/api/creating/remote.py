"""Create of a model that another server runs: words and an address, no weights.

Source: `remoteURL` in `server/create.go` of https://github.com/ollama/ollama.
"""

import posixpath
from urllib.parse import urlsplit

from ollmlx import names
from ollmlx.errors import BadRequest
from ollmlx.store.ollama.config import Config
from ollmlx.wire.native import CreateRequest

_CLOUD = "https://ollama.com:443"
_PORT = 11434


def asked(request: CreateRequest) -> bool:
    """Whether the request is for such a model: it names a server, or a model of Ollama's cloud."""
    return bool(request.from_ and (request.remote_host or names.of_cloud(request.from_)))


def address(request: CreateRequest, config: Config) -> None:
    """Write down who runs what.  Raises `BadRequest`."""
    if request.draft_files:
        raise BadRequest("DRAFT cannot be used with remote models")
    if request.adapters or request.quantize or request.quantization:
        raise BadRequest("a remote model has no weights here to adapt or to quantize")
    config.remote_host = url(request.remote_host) if request.remote_host else _CLOUD
    config.remote_model = names.of_cloud(request.from_) or names.installed(request.from_)


def url(host: str) -> str:
    """The whole address that `host`, `host:port` or a path on this machine stands for.

    Raises `BadRequest`.
    """
    if host.startswith("/"):
        return f"http://localhost:{_PORT}{_clean(host)}"
    whole = host if "://" in host else f"http://{host}"
    if whole == "http://ollama.com":
        return _CLOUD
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError as error:
        raise BadRequest("bad remote") from error
    server = parts.netloc or "localhost"
    server = server if port is not None or server.endswith(":") else f"{server}:{_PORT}"
    path = _clean(parts.path) if parts.path else ""
    return parts._replace(netloc=server, path=path.rstrip("/")).geturl()


def _clean(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")
