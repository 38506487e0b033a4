"""OLLAMA_* and OLLMLX_* in the environment → one frozen `Settings`, read once at the entrance and
passed down.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ollmlx.errors import BadRequest

FOREVER = float("inf")
# Ollama reads these as well.  Who has set one is told that it does nothing here.
WITHOUT_MEANING = (
    "OLLAMA_DEBUG_LOG_REQUESTS",
    "OLLAMA_GPU_OVERHEAD",
    "OLLAMA_IGPU_ENABLE",
    "OLLAMA_LLM_LIBRARY",
    "OLLAMA_MAX_TRANSFER_STREAMS",
    "OLLAMA_REMOTES",
    "OLLAMA_SCHED_SPREAD",
    "OLLAMA_VULKAN",
)
_MODELS = "~/.ollama/models"
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}  # Go takes both letters mu
_LONGEST = 2**63 / 1e9
"""Seconds of Go's longest duration."""
_DURATION = re.compile(r"([0-9]*\.?[0-9]*)([^0-9.]*)")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `1h30m`, `300ms`, `-1m`, `0`.  Raises `BadRequest` with Go's
    text.
    """
    sign, rest = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    total, invalid = 0.0, BadRequest(f"time: invalid duration {_shown(text)}")
    if not rest:
        raise invalid
    while rest:
        match = _DURATION.match(rest)
        number, unit = match.groups() if match else ("", "")
        if not any(c.isdigit() for c in number):
            raise invalid
        if not unit:
            raise BadRequest(f"time: missing unit in duration {_shown(text)}")
        if unit not in _UNITS:
            raise BadRequest(f"time: unknown unit {_shown(unit)} in duration {_shown(text)}")
        total += float(number) * _UNITS[unit]
        rest = rest[len(number) + len(unit) :]
    if total > _LONGEST:
        raise invalid
    return sign * total


def _shown(text: str) -> str:
    """As Go's `time` quotes what it does not understand: bytes beyond ASCII by number."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "replace")
    shown = (chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in escaped)
    return f'"{"".join(shown)}"'


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadRequest(f"OLLAMA_MODELS: there is no home directory for {text!r}") from error


@dataclass(frozen=True)
class Settings:
    """Every setting of the engine room.  The Jupyter extension has a trait for each."""

    host: str = "127.0.0.1"
    port: int = 11434
    models: Path = field(default_factory=lambda: _folder(_MODELS))
    """Ollama's store; ollmlx keeps the MLX models it makes in `mlx/` inside it."""
    keep_alive: float = 300.0
    """Seconds a model stays loaded after its last request; infinity is for ever."""
    load_timeout: float = 300.0
    """Seconds without progress after which a load is given up; infinity never."""
    num_parallel: int = 0
    """Sequences a model runs at once; 0 is as many of 8, on a GPU of 32, as memory has room for."""
    max_loaded_models: int = 3
    max_queue: int = 512
    """Requests that may wait for a model to load."""
    context_length: int = 0
    """Default `num_ctx`; 0 chooses by GPU memory."""
    origins: tuple[str, ...] = ()
    """Browser origins allowed besides Ollama's defaults; `*` is all."""
    flash_attention: bool | None = None
    kv_cache_type: str = "f16"
    go_template: bool | None = None
    """True forces a Modelfile's TEMPLATE, False the weights' own Jinja; None chooses."""
    embedded: bool = True
    """Whether the model embedded in `ollmlx[demo]` is listed."""
    noprune: bool = False
    """Keep blobs that no model needs any more."""
    debug: bool = False


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises `BadRequest` naming the variable whose value cannot be meant."""

    def text(name: str, default: str = "") -> str:
        return _bare(environment.get(name, default))

    def flag(name: str) -> bool | None:
        return parse_switch(environment.get(name, ""))

    def count(name: str, default: int) -> int:
        value = text(name) or str(default)
        if not value.isdecimal():
            raise BadRequest(f"{name} must be a whole number, not {value!r}")
        return int(value)

    def seconds(name: str, default: str) -> float:
        value = text(name) or default
        try:
            amount = float(value) if re.fullmatch(r"-?\d+", value) else parse_duration(value)
        except BadRequest as error:
            raise BadRequest(f"{name}: {error}") from error
        return FOREVER if amount < 0 else amount

    cache_type = text("OLLAMA_KV_CACHE_TYPE", "f16") or "f16"
    if cache_type not in ("f16", "q8_0", "q4_0"):
        raise BadRequest(f"OLLAMA_KV_CACHE_TYPE must be f16, q8_0 or q4_0, not {cache_type!r}")
    host, port = listening(environment)
    return Settings(
        host=host,
        port=port,
        models=_folder(text("OLLAMA_MODELS") or _MODELS),
        keep_alive=seconds("OLLAMA_KEEP_ALIVE", "5m"),
        load_timeout=seconds("OLLAMA_LOAD_TIMEOUT", "5m") or FOREVER,
        num_parallel=count("OLLAMA_NUM_PARALLEL", 0),
        max_loaded_models=count("OLLAMA_MAX_LOADED_MODELS", 0) or 3,
        max_queue=count("OLLAMA_MAX_QUEUE", 512),
        context_length=count("OLLAMA_CONTEXT_LENGTH", 0),
        origins=tuple(o for o in re.split(r"\s*,\s*", text("OLLAMA_ORIGINS")) if o),
        flash_attention=flag("OLLAMA_FLASH_ATTENTION"),
        kv_cache_type=cache_type,
        go_template=flag("OLLAMA_GO_TEMPLATE"),
        embedded=flag("OLLMLX_EMBEDDED") is not False,
        noprune=bool(flag("OLLAMA_NOPRUNE")),
        debug=bool(flag("OLLAMA_DEBUG")),
    )


def parse_switch(text: str) -> bool | None:
    """Any text but these is on, as in Ollama; None where there is none."""
    text = _bare(text)
    return text not in ("0", "f", "F", "false", "FALSE", "False") if text else None


def remark(environment: Mapping[str, str] = os.environ) -> str:
    """What to tell whom of `WITHOUT_MEANING` has set; empty where nobody has."""
    names = ", ".join(name for name in WITHOUT_MEANING if environment.get(name))
    return f"settings of Ollama that mean nothing here: {names}" if names else ""


def listening(environment: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Host and port of OLLAMA_HOST, where a server listens.  Raises `BadRequest` naming it."""
    try:
        _, host, port, _ = parse_host(environment.get("OLLAMA_HOST", ""))
    except BadRequest as error:
        raise BadRequest(f"OLLAMA_HOST: {error}") from error
    return host, port


def parse_host(text: str) -> tuple[str, str, int, str]:
    """OLLAMA_HOST → (scheme, host, port, path), with Ollama's defaults for what is missing.

    Raises `BadRequest` for a port that is none, where Ollama takes its own.
    """
    text = _bare(text)
    scheme, separator, rest = text.rpartition("://")
    scheme = scheme or "http"
    default = {"http": 80, "https": 443}.get(scheme, 11434) if separator else 11434
    location, slash, path = rest.partition("/")
    location = location.rpartition("@")[
        2
    ]  # behind a name and a password, which are not ours to tell
    if location.count(":") > 1 and not location.startswith("["):
        location = f"[{location}]"  # a bare IPv6 address has no port
    try:
        parts = urlsplit(f"//{location}")
        port = default if parts.port is None else parts.port
    except ValueError as error:
        raise BadRequest(f"{location!r} is no address of a server: {error}") from error
    host = parts.hostname or ("" if location.startswith(":") else "127.0.0.1")
    return scheme, host, port, (slash + path).rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine to nobody but itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bare(value: str) -> str:
    """Without the blanks and quotes that shells and configuration files leave around it."""
    return value.strip().strip("\"'")
