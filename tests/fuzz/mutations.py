"""Requests that nobody should send: each field of each route replaced, and bodies damaged as text.

Everything is drawn from a seed, so that a failure can be had again.
"""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Any

from ollmlx.api import openapi
from ollmlx.api.routes import ROUTES, Route

CHAT, EMBEDDER, SPARE = "toy", "embedder", "spare"
"""The first two have to be there to the end."""
DEEP, LONG_NUMBER = "@deep@", "@long number@"
_LITERAL = {DEEP: "[" * 9000 + "]" * 9000, LONG_NUMBER: "9" * 9000}
"""What `json` cannot or will not write, by what stands for it."""
WILD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, -2, 0.5, -0.0, 1e308, 2**31, 2**63, -(2**63), 10**30),
    *(float("nan"), float("inf"), LONG_NUMBER, DEEP),
    *("", " ", "x", SPARE, "5m", "-1", "none", "required", "max", "null", "{}", "\x00", "\ud800"),
    *(
        "é😀\u202e\u0301",
        "../../etc/passwd",
        "{{ .System }}{{",
        "{% for %}",
        "<think>",
        "a" * 70000,
    ),
    *([], {}, [None], [[]], [{}], [1, "x", None, {"a": []}], {"": None}, {"a": {"b": {"c": [1]}}}),
    *({"type": "object"}, {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}),
    *({"type": "regex", "pattern": "(a{9999}){9999}"}, ["x"] * 3000, "data:image/png;base64,AA"),
)
_SAID = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]},
    {"role": "tool", "content": "1", "tool_name": "f"},
    {"role": "user", "content": "hi"},
]
_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
_SHORT = {"num_predict": 4, "temperature": 0.5, "seed": 1, "stop": ["x"], "num_ctx": 256}
_MEANT: dict[str, Any] = {
    "/api/generate": {"prompt": "hi", "options": _SHORT},
    "/api/chat": {"messages": _SAID, "tools": _TOOLS, "options": _SHORT},
    "/api/embed": {"model": EMBEDDER, "input": ["a cat"]},
    "/api/embeddings": {"model": EMBEDDER, "prompt": "a cat"},
    "/v1/chat/completions": {"messages": _SAID[:1], "tools": _TOOLS, "max_tokens": 4},
    "/api/chat/completions": {"messages": _SAID[:1], "max_tokens": 4},
    "/v1/completions": {"prompt": "hi", "max_tokens": 4},
    "/v1/embeddings": {"model": EMBEDDER, "input": "a cat"},
    "/v1/responses": {"input": "hi", "max_output_tokens": 4},
    "/v1/messages": {"messages": _SAID[:1], "max_tokens": 4},
    "/v1/messages/count_tokens": {"messages": _SAID[:1]},
    "/api/rerank": {"model": EMBEDDER, "query": "cat", "documents": ["a cat", "a dog"]},
    "/v1/rerank": {"model": EMBEDDER, "query": "cat", "documents": ["a cat", "a dog"]},
    "/api/copy": {"source": "toy", "destination": "copied"},
    "/api/create": {"model": "made", "from": "toy", "system": "s"},
    "/api/delete": {"model": "made"},
    "/api/pull": {"model": "127.0.0.1:9/a/b", "insecure": True},
    "/api/push": {"model": "127.0.0.1:9/a/b", "insecure": True},
    "/api/ollmlx/jobs": {"kind": "pull", "model": "127.0.0.1:9/a/b", "insecure": True},
}
_OPTIONS = (
    *("num_predict", "temperature", "seed", "stop", "num_ctx", "num_keep", "num_batch", "num_gpu"),
    *("top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "mirostat"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "num_thread", "use_mmap", "no_option"),
)
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Ask:
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = self.body if len(self.body) < 900 else self.body[:900] + b"..."
        return f"{self.method} {self.path} {self.headers or ''} {shown!r}"


def sample(count: int, seed: int) -> list[Ask]:
    """Two thirds are every field in turn with another value, the rest is damaged in other ways."""
    chance = random.Random(seed)
    places = cycle(chance.sample(PLACES, len(PLACES)))
    asks = [
        asked(route, replaced(meant(route), path, chance.choice(WILD)))
        for route, path in islice(places, count * 2 // 3)
    ]
    return asks + [drawn(seed * count + number) for number in range(count - len(asks))]


def drawn(seed: int) -> Ask:
    """A request damaged in some other way: several fields, the text, its headers or its path."""
    chance = random.Random(seed)
    route = chance.choice(WITH_JSON)
    body = meant(route)
    for _ in range(chance.randint(0, 3)):
        path = chance.choice([path for place, path in PLACES if place is route] or [("x",)])
        body = replaced(body, path, chance.choice(WILD))
    ask = asked(route, body)
    damage = chance.choice((_torn, _sprinkled, _doubled, _recased, _labelled, _elsewhere))
    return damage(chance, ask)


# -- fields ----------------------------------------------------------------------------------------


def meant(route: Route) -> dict[str, Any]:
    """A short request that the route can answer."""
    return {"model": CHAT, **deepcopy(_MEANT.get(route.path, {}))}


def asked(route: Route, body: Any) -> Ask:
    text = json.dumps(body)
    for name, literal in _LITERAL.items():
        text = text.replace(f'"{name}"', literal)
    return Ask(route.method, route.path, text.encode())


def replaced(body: Any, path: Path, value: Any) -> Any:
    """The body with something else at a place; what is missing on the way is made."""
    if not path:
        return value
    first, *rest = path
    if isinstance(first, int):
        before = body[:1] if isinstance(body, list) else []
        return [replaced(before[0] if before else {}, tuple(rest), value)]
    before = body if isinstance(body, dict) else {}
    return {**before, first: replaced(before.get(first), tuple(rest), value)}


def _places() -> Iterator[tuple[Route, Path]]:
    """Every field of every request, those of Structs inside and of options included."""
    for route in WITH_JSON:
        assert route.request
        module = route.request.__module__.rpartition(".")[2]
        for path in _paths(_SCHEMAS[f"{module}.{route.request.__name__}"], ()):
            yield route, path
            if path[-1:] == ("options",):
                yield from ((route, (*path, option)) for option in _OPTIONS)
        yield route, ()


def _paths(schema: dict[str, Any], above: Path) -> Iterator[Path]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        # One level of those that hold themselves is enough.
        if len(above) < 6:
            yield from _paths(_SCHEMAS[name], above)
    for choice in schema.get("anyOf", []):
        yield from _paths(choice, above)
    if "items" in schema:
        yield from _paths(schema["items"], (*above, 0))
    for name, inner in schema.get("properties", {}).items():
        yield (*above, name)
        yield from _paths(inner, (*above, name))


_SCHEMAS = json.loads(openapi.document(ROUTES))["components"]["schemas"]
WITH_JSON = [route for route in ROUTES if route.request and route.method != "GET"]
PLACES = list(_places())

# -- texts -----------------------------------------------------------------------------------------


def _torn(chance: random.Random, ask: Ask) -> Ask:
    return replace(ask, body=ask.body[: chance.randint(0, len(ask.body))])


def _sprinkled(chance: random.Random, ask: Ask) -> Ask:
    body = bytearray(ask.body)
    for _ in range(chance.randint(1, 4)):
        body.insert(chance.randint(0, len(body)), chance.choice(b'{}[]",:\\\x00\xff\xc3 e9tn-'))
    return replace(ask, body=bytes(body))


def _doubled(chance: random.Random, ask: Ask) -> Ask:
    """The same keys twice, with another value, or two documents."""
    name = chance.choice((b"model", b"stream", b"options", b"messages", b"Model"))
    value = json.dumps(chance.choice(WILD)).encode()
    if chance.random() < 0.3:
        return replace(ask, body=ask.body + value)
    return replace(ask, body=ask.body.replace(b"{", b'{"%s": %s, ' % (name, value), 1))


def _recased(chance: random.Random, ask: Ask) -> Ask:
    return replace(
        ask, body=chance.choice((ask.body.upper(), ask.body.title(), ask.body.swapcase()))
    )


def _labelled(chance: random.Random, ask: Ask) -> Ask:
    headers = chance.choice(
        (
            {"Content-Type": "text/html"},
            {"Content-Type": "multipart/form-data; boundary=x"},
            {"Content-Encoding": "zstd"},
            {"Content-Encoding": "gzip"},
            {"Content-Type": "application/json; charset=utf-16"},
            {"Accept": "image/png"},
            {"anthropic-version": "never"},
            {"Authorization": "Bearer"},
        )
    )
    return replace(ask, headers=headers)


def _elsewhere(chance: random.Random, ask: Ask) -> Ask:
    """Another method, or a path that is nearly one."""
    if chance.random() < 0.3:
        return replace(
            ask, method=chance.choice(("GET", "HEAD", "PUT", "PATCH", "OPTIONS", "DELETE"))
        )
    endings = (
        "/",
        "//",
        "?",
        "?model=%00",
        "?model[]=1",
        "/..",
        "/%2e%2e/x",
        "%00",
        "%ff",
        "?limit=-1",
    )
    others = ("/api/blobs/sha256:zz", "/api/blobs/sha256:" + "0" * 64, "/v1/models/%2e%2e%2fx")
    paths = (ask.path + chance.choice(endings), *others, "/api/show?model=" + "a" * 3000)
    return replace(ask, path=chance.choice(paths))
