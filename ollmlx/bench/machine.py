"""Servers that the benchmark starts, and the processor time that servers use."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import psutil

from ollmlx.errors import OllmlxError

_START_SECONDS = 60
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServerNotStarted(OllmlxError):
    """A server that the benchmark wanted to measure ended, or never answered."""


@dataclass(frozen=True)
class Started:
    url: str
    """Base of the Ollama API."""
    pid: int
    token: str = field(default="", repr=False)
    root: str = ""
    """Jupyter's own base URL."""


@contextmanager
def ollmlx_server(slots: int) -> Generator[Started, None, None]:
    """`ollmlx serve` with room for `slots` streams, on the models of this environment."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_NUM_PARALLEL": str(slots)}
    with _running([sys.executable, "-m", "ollmlx.cli", "serve"], environment) as process:
        process.wait_for(f"{url}/api/version")
        yield Started(url, process.pid)


@contextmanager
def jupyter_server(slots: int) -> Generator[Started, None, None]:
    """A real Jupyter server with our extension, and the metronome that listens to its loop."""
    port, token = free_port(), secrets.token_hex(16)
    root = f"http://127.0.0.1:{port}"
    extensions = {"jupyter_ext": True, "ollmlx.bench.metronome": True}
    command = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        f"--ServerApp.jpserver_extensions={extensions}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with tempfile.TemporaryDirectory() as folder:
        # None of the user's own Jupyter: neither their extensions nor their configuration.
        places = {f"JUPYTER_{kind}_DIR": folder for kind in ("CONFIG", "DATA", "RUNTIME")}
        environment = {
            **places,
            "JUPYTER_TOKEN": token,
            "OLLAMA_NUM_PARALLEL": str(slots),
        }
        with _running([*command, f"--ServerApp.root_dir={folder}"], environment) as process:
            process.wait_for(f"{root}/api")
            yield Started(f"{root}/ollama", process.pid, token, root)


@contextmanager
def metronome() -> Generator[list[float], None, None]:
    """Lags of a metronome in a process of its own; the list is filled when the block ends."""
    lags: list[float] = []
    command = [sys.executable, "-m", "ollmlx.bench.metronome"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        yield lags
        heard, _ = process.communicate()
    lags += msgspec.json.decode(heard, type=list[float])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listener(url: str) -> int | None:
    """Process id of the local server at a URL; None where it is elsewhere or not to be seen."""
    parts = urlsplit(url)
    if parts.hostname not in _LOOPBACK:
        return None
    try:
        open_sockets = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows them to root only
        return None
    for opened in open_sockets:
        if opened.status == psutil.CONN_LISTEN and opened.laddr.port == parts.port:
            pid: int | None = opened.pid
            return pid
    return None


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process and of those it started, without those that ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(_own_seconds(member) for member in family)
    except psutil.NoSuchProcess:
        return None


def _own_seconds(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class _Process:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.pid = process.pid

    def wait_for(self, url: str) -> None:
        """Return when something answers there.  Raises `ServerNotStarted`."""
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(url, timeout=1, trust_env=False)
                return
            except httpx.HTTPError:
                time.sleep(0.1)
        said = self._log.read_text(errors="replace").splitlines()[-3:]
        raise ServerNotStarted(f"the server does not answer at {url}: {' '.join(said)}")


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Generator[_Process, None, None]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=output, stderr=output
            )
        try:
            yield _Process(process, log)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
