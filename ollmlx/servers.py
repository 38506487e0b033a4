"""The server that a kernel or a command line belongs to: where it is, and what opens it."""

import json
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from jupyter_core.paths import jupyter_runtime_dir

from ollmlx.errors import OllmlxError
from ollmlx.settings import is_loopback, parse_host

DEFAULT_URL = "http://127.0.0.1:11434"
_PROBE_SECONDS = 2.0


class NoServer(OllmlxError, ConnectionError):
    """Nothing answers where a server could be."""

    def __init__(self, tried: Mapping[str, str]) -> None:
        places = "".join(f"\n  {rule}: {url}" for rule, url in tried.items())
        super().__init__(
            "no ollmlx server answers; start one with `jupyter lab` or `ollmlx serve` (here: "
            f"`%ollmlx serve`), or name one in OLLMLX_HOST{places and '. Tried:'}{places}"
        )


@dataclass(frozen=True)
class Server:
    """Where a server is, what it wants to be shown, and why we think so."""

    url: str = field(repr=False)
    """Base of the Ollama API, without a trailing slash; its path may hold a secret."""
    rule: str
    """What named it, in words for `%ollmlx status`."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: str = ""
    """Path of the only certificate to accept, for whatever host it was made out."""

    @property
    def place(self) -> str:
        """The address as it may be shown, and saved in a notebook."""
        return re.sub(r"/t/[^/]+", "/t/…", self.url)

    @property
    def local(self) -> bool:
        """Whether it is on this machine: a proxy would look for it on its own loopback."""
        return is_loopback(httpx.URL(self.url).host)

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for an httpx client, and so for an `ollama` one."""
        verify = _accepting(self.certificate) if self.certificate else _authorities()
        return {"headers": dict(self.headers), "trust_env": not self.local, "verify": verify}

    def answers(self) -> bool:
        """Whether an Ollama API is there and lets us in."""
        try:
            response = httpx.get(f"{self.url}/api/version", timeout=_PROBE_SECONDS, **self.options)
            return response.is_success and "version" in response.json()
        except (httpx.HTTPError, OSError, ValueError):  # OSError: its certificate is gone
            return False


@cache
def _authorities() -> ssl.SSLContext:
    """Reading them takes 20 ms, which every client would spend for itself."""
    return httpx.create_ssl_context()


def _accepting(certificate: str) -> ssl.SSLContext:
    """A notebook server's certificate is often its own, and seldom made out to 127.0.0.1."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def find(host: str | None = None, environment: Mapping[str, str] = os.environ) -> Server:
    """The first server of: `host`, OLLMLX_HOST, the Jupyter server this kernel belongs to, any
    other Jupyter server of this user, OLLAMA_HOST, 127.0.0.1:11434.

    The first two are taken at their word; each of the others has to answer.  Raises `NoServer`.
    """
    if named := host or environment.get("OLLMLX_HOST", ""):
        return _named(named, "the given address" if host else "OLLMLX_HOST", environment)
    tried: dict[str, str] = {}
    for server in _candidates(environment):
        if server.answers():
            return server
        tried[server.rule] = server.place
    raise NoServer(tried)


def base_url(host: str) -> str:
    """Complete an address written as OLLAMA_HOST allows: `:8000`, `box`, `http://box:8888/ollama/`."""
    scheme, name, port, path = parse_host(host)
    name = "127.0.0.1" if name in ("", "0.0.0.0", "::") else name
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{path}"


def _named(host: str, rule: str, environment: Mapping[str, str]) -> Server:
    """The server at an address that may have a name and a password in it; else it is shown
    OLLAMA_API_KEY, as by the `ollama` package.
    """
    url, key, headers = base_url(host), environment.get("OLLAMA_API_KEY", ""), {}
    parts = urlsplit(host if "://" in host else f"//{host}")
    if parts.password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
        headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    elif key:
        headers = {"Authorization": f"Bearer {key}"}
    return Server(url, rule, headers)


def _candidates(environment: Mapping[str, str]) -> Iterator[Server]:
    runtime = Path(jupyter_runtime_dir())
    if (pid := environment.get("JPY_PARENT_PID", "")).isdecimal():
        yield from _parent(runtime, pid)
    for file in sorted(runtime.glob("ollmlx-*.json"), key=_age):
        yield from _noted(file, f"its note {file.name}")
    if outside := environment.get("OLLAMA_HOST", ""):
        yield _named(outside, "OLLAMA_HOST", environment)
    yield Server(DEFAULT_URL, "Ollama's usual port")


def _parent(runtime: Path, pid: str) -> Iterator[Server]:
    """The Jupyter server that started this kernel: its mount with its token, then as it noted.

    A server with a password has no token; only the secret in its note opens it then.
    """
    rule, file = "the Jupyter server of this kernel", runtime / f"ollmlx-{pid}.json"
    note = _read(file)
    jupyter = _read(runtime / f"jpserver-{pid}.json")
    url, token = jupyter.get("url", ""), jupyter.get("token", "")
    if token and url.startswith(("http://", "https://")):  # not a socket in the file system
        mount = note.get("mount") or f"{url.rstrip('/')}/ollama"
        headers = {"Authorization": f"Bearer {token}"}
        yield Server(mount.rstrip("/"), rule, headers, note.get("certificate", ""))
    yield from _noted(file, rule)


def _noted(file: Path, rule: str) -> Iterator[Server]:
    """Where the Jupyter server that wrote `ollmlx-<pid>.json` said it is, secret included."""
    note = _read(file)
    if url := note.get("url"):
        certificate = note.get("certificate", "") if url.startswith("https://") else ""
        yield Server(url.rstrip("/"), rule, certificate=certificate)


def _age(file: Path) -> float:
    try:
        return -file.stat().st_mtime
    except FileNotFoundError:  # its server ended while we looked
        return 0.0


def _read(file: Path) -> dict[str, str]:
    """The texts of a JSON object; nothing when the file is gone or half written."""
    try:
        info = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: text for key, text in info.items() if isinstance(text, str)}
