"""Who may call: Ollama's rules for the Origin and Host headers of a listener on loopback.

The Origin rule keeps web pages of strangers out, the Host rule keeps them out when they rebind a
name of theirs to 127.0.0.1.  Source: Ollama's `server/routes.go` and `envconfig`.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable

import psutil

Headers = list[tuple[str, str]]
_LOCAL = ("localhost", "127.0.0.1", "0.0.0.0")
DEFAULT_ORIGINS = (
    *(
        f"{scheme}://{host}{port}"
        for host in _LOCAL
        for scheme in ("http", "https")
        for port in ("", ":*")
    ),
    *(f"{app}://*" for app in ("app", "file", "tauri", "vscode-webview", "vscode-file")),
)
_PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
"""Go's, which are fewer than Python's."""
_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_STAINLESS = (
    "Arch Async Custom-Poll-Interval Helper-Method Lang Os Package-Version Poll-Helper Retry-Count"
    " Runtime Runtime-Version Timeout"
)
# Ollama leaves out the last two, so Anthropic's client fails its preflight in a browser.
ALLOWED_HEADERS = ",".join(
    [
        *(
            "Authorization",
            "Content-Type",
            "User-Agent",
            "Accept",
            "X-Requested-With",
            "Openai-Beta",
        ),
        *(f"X-Stainless-{name}" for name in _STAINLESS.split()),
        *("X-Api-Key", "Anthropic-Version"),
    ]
)


def cors_headers(origin: str, host: str, origins: Iterable[str]) -> Headers | None:
    """The headers of an answer to a page from `origin`; None when it may not call at all.

    No Origin, or the server's own, needs no headers.  `origins` are allowed besides Ollama's
    defaults.
    """
    if not origin or origin in (f"http://{host}", f"https://{host}"):
        return []
    allowed = [*origins, *DEFAULT_ORIGINS]
    if "*" in allowed:
        return [("Access-Control-Allow-Origin", "*")]
    if any(_matches(pattern, origin) for pattern in allowed):
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
    return None


def _matches(pattern: str, origin: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == origin
    return (
        len(origin) >= len(before) + len(after)
        and origin.startswith(before)
        and origin.endswith(after)
    )


def preflight_headers(origin: str, host: str, origins: Iterable[str]) -> Headers | None:
    """The headers of the 204 that answers an allowed preflight; None when it is not allowed.

    The server's own origin has no need to ask: no headers.
    """
    allowed = cors_headers(origin, host, origins)
    if not allowed:
        return allowed
    return [
        *(header for header in allowed if header[0] != "Vary"),
        ("Access-Control-Allow-Methods", _METHODS),
        ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
        ("Access-Control-Max-Age", "43200"),
        ("Vary", "Origin"),
        ("Vary", "Access-Control-Request-Method"),
        ("Vary", "Access-Control-Request-Headers"),
    ]


def host_name(host: str) -> str:
    """A Host header without its port, and without the brackets around what stands before one."""
    parted = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^\[\]:]*)):[^\[\]:]*", host)
    return (parted[1] or parted[2] or "") if parted else host


def host_is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host_name(host))
    except ValueError:
        return False
    return True


def allowed_host(host: str) -> bool:
    """Whether a loopback listener answers to this Host header."""
    name = host_name(host).lower()
    if host_is_address(host):
        address = ipaddress.ip_address(name)
        address = getattr(address, "ipv4_mapped", None) or address
        near = address.is_loopback or address.is_unspecified or _is_private(address)
        return near or name in _own_addresses()
    own = (socket.gethostname().lower(), "localhost", "")
    return name in own or name.endswith((".localhost", ".local", ".internal"))


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(address in network for network in _PRIVATE if network.version == address.version)


def _own_addresses() -> set[str]:
    return {a.address.split("%")[0] for card in psutil.net_if_addrs().values() for a in card}
