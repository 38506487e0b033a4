"""The open door as seen from Jupyter: its address, and who holds its port when it cannot open."""

from pathlib import Path

import httpx

from jupyter_ext import note, secret

_PROBE_SECONDS = 2.0


def address(host: str, port: int, path_secret: str = "") -> str:
    """What a client on this machine writes for a listener on `host`."""
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    bracketed = f"[{name}]" if ":" in name else name
    return f"http://{bracketed}:{port}{secret.prefix(path_secret)}"


def holder(host: str, port: int, runtime_dir: Path) -> str:
    """In words, what listens there already.  Blocks for some seconds at most."""
    for other in note.others(runtime_dir):
        if other.door_port == port:
            return f"the ollmlx of the Jupyter server with process id {other.pid}"
    try:
        reply = httpx.get(
            f"{address(host, port)}/api/version", timeout=_PROBE_SECONDS, trust_env=False
        )
        return f"an Ollama server, version {reply.json()['version']}"
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return "another program, which does not speak Ollama's API"
