"""The OpenAPI document: valid, complete, and what the handlers do."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate

from ollmlx.api import openapi
from ollmlx.api.routes import ROUTES, Route
from ollmlx.errors import Malformed
from ollmlx.settings import Settings
from ollmlx.wire.decode import decode
from tests.echo import EchoLibrary, echo_model
from tests.serving import served

DOCUMENT = json.loads(openapi.document(ROUTES))
SCHEMAS = DOCUMENT["components"]["schemas"]
WITH_BODIES = [route for route in ROUTES if route.request and route.method != "GET"]
HELLO = [{"role": "user", "content": "hey"}]
MODELS = EchoLibrary(echo_model(), echo_model("embedder:latest", capabilities=("embedding",)))


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with (
        served(Settings(), MODELS) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=20) as client,
    ):
        yield client


def body_schema(route: Route) -> dict[str, Any]:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    return resolved(operation["requestBody"]["content"]["application/json"]["schema"])


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [resolved(choice) for choice in schema.get("anyOf", [schema])]


def right(schema: dict[str, Any]) -> Any:
    """A value that the schema allows."""
    first = choices(schema)[0]
    kind = first.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [right(first["items"])]
    if "enum" in first:
        return first["enum"][0]
    if kind == "object":
        return {name: right(first["properties"][name]) for name in first.get("required", [])}
    plain = {"string": "eA==", "boolean": True, "integer": 1, "number": 1.5}
    return plain.get(kind, "anything")


def wrong(schema: dict[str, Any]) -> Any:
    """A value that it does not allow, None where it allows all."""
    values = (5, "x", [[]], {"a": 1}, True)
    found = {**schema, "components": DOCUMENT["components"]}
    return next((v for v in values if not jsonschema.Draft202012Validator(found).is_valid(v)), None)


def test_the_document_is_valid_openapi():
    validate(DOCUMENT)


def test_every_route_is_in_it_and_nothing_else():
    described = {
        (method.upper(), re.sub("{[a-z]+}", "*", path))
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    assert set(openapi.ANSWERS) == {route.path for route in ROUTES}


def test_it_is_served(http):
    answer = http.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json() == DOCUMENT


@pytest.mark.parametrize("route", WITH_BODIES, ids=lambda route: route.path)
def test_every_documented_field_is_accepted(route):
    for name, schema in body_schema(route)["properties"].items():
        decode(json.dumps({name: right(schema)}).encode(), route.request)


@pytest.mark.parametrize("route", WITH_BODIES, ids=lambda route: route.path)
def test_every_wrong_type_is_refused(http, route):
    for name, schema in body_schema(route)["properties"].items():
        if (value := wrong(schema)) is None:
            continue
        body = json.dumps({name: value})
        with pytest.raises(Malformed):
            decode(body.encode(), route.request)
        assert http.request(route.method, route.path, content=body).status_code == 400, body


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/version", None),
        ("GET", "/api/status", None),
        ("GET", "/api/tags", None),
        ("GET", "/api/ps", None),
        ("GET", "/api/sources", None),
        ("GET", "/api/ollmlx/jobs", None),
        ("GET", "/api/ollmlx/running", None),
        ("GET", "/api/ollmlx/telemetry", None),
        ("GET", "/api/ollmlx/search", None),
        ("POST", "/api/ollmlx/load", {"model": "echo"}),
        ("POST", "/api/ollmlx/unload", {"model": "echo"}),
        ("GET", "/v1/models", None),
        ("POST", "/api/show", {"model": "echo"}),
        ("POST", "/api/generate", {"model": "echo", "prompt": "hey", "logprobs": True}),
        ("POST", "/api/chat", {"model": "echo", "messages": HELLO, "logprobs": True}),
        ("POST", "/api/embed", {"model": "embedder", "input": ["a", "b"]}),
        ("POST", "/api/embeddings", {"model": "embedder", "prompt": "a"}),
        ("POST", "/v1/chat/completions", {"model": "echo", "messages": HELLO}),
        ("POST", "/v1/completions", {"model": "echo", "prompt": "hey"}),
        ("POST", "/v1/embeddings", {"model": "embedder", "input": "a"}),
        ("POST", "/v1/responses", {"model": "echo", "input": "hey"}),
        ("POST", "/v1/messages", {"model": "echo", "messages": HELLO, "max_tokens": 9}),
        ("POST", "/v1/chat/completions", {"model": "nope", "messages": HELLO}),
        ("POST", "/api/chat", {"model": "nope"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_answers_are_as_documented(http, method, path, body, stream):
    documented = DOCUMENT["paths"][path][method.lower()]["responses"]
    answer = http.request(method, path, json=body and {**body, "stream": stream})
    content = documented.get(str(answer.status_code), documented["default"])["content"]
    kind = answer.headers["Content-Type"].partition(";")[0]
    schema = {**content[kind]["schema"], "components": DOCUMENT["components"]}
    for frame in frames(answer.text, kind):
        jsonschema.validate(frame, schema)


def frames(text: str, kind: str) -> list[Any]:
    if kind == "application/json":
        return [json.loads(text)]
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    return [json.loads(line) for line in lines if line.startswith("{")]
