"""The OpenAPI document of all routes, made of their table and of the wire's Structs.

What no Struct tells, what a route answers and in a few words what for, is in `ANSWERS`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ollmlx import __version__
from ollmlx.api import dialects
from ollmlx.wire import account, additions, anthropic, embeddings, live, native, openai, responses
from ollmlx.wire.schemas import Schema, Schemas

if TYPE_CHECKING:
    from ollmlx.api.routes import Route  # whose table holds the operation that asks for this

JSON, LINES, EVENTS = "application/json", "application/x-ndjson", "text/event-stream"
TEXT, BYTES, FORM = "text/plain", "application/octet-stream", "multipart/form-data"


@dataclass(frozen=True)
class Answered:
    """What an operation is for, and what it answers when all went well."""

    summary: str
    whole: Any = None
    """A Struct, or some; the media type of something else; None for a body without content."""
    frame: Any = None
    """Of a stream, where the request can ask for one."""
    framing: str = LINES


GENERATED = Answered("Complete a prompt", native.GenerateResponse, native.GenerateResponse)
CHATTED = Answered("Answer a conversation", native.ChatResponse, native.ChatResponse)
COMPLETED = Answered(
    "Answer a conversation", openai.ChatCompletion, openai.ChatCompletionChunk, EVENTS
)
SIGNED_OUT = Answered("Forget the account")
DELETED = Answered("Delete a model")
MESSAGE_EVENTS = (
    anthropic.MessageStart
    | anthropic.BlockStart
    | anthropic.BlockDelta
    | anthropic.BlockStop
    | anthropic.MessageDelta
    | anthropic.MessageStop
)


def changing(summary: str) -> Answered:
    """An operation on the store, which tells how far it is."""
    return Answered(summary, native.ProgressResponse, native.ProgressResponse)


ANSWERS = {
    "/": Answered("Tell that the server runs", TEXT),
    "/openapi.json": Answered("Describe the API: this document", JSON),
    "/api/version": Answered("Tell the version", native.VersionResponse),
    "/api/status": Answered("Tell whether models in a cloud are used", native.StatusResponse),
    "/api/tags": Answered("List the models", native.ListResponse),
    "/api/sources": Answered("Tell where the models lie", additions.SourcesResponse),
    "/api/ps": Answered("List the loaded models", native.ProcessResponse),
    "/api/show": Answered("Describe a model", native.ShowResponse),
    "/api/generate": GENERATED,
    "/api/chat": CHATTED,
    "/api/embed": Answered("Embed texts", embeddings.EmbedResponse),
    "/api/embeddings": Answered("Embed a text", embeddings.EmbeddingResponse),
    "/api/tokenize": Answered("Split a text into tokens", additions.TokenizeResponse),
    "/api/detokenize": Answered("Join tokens to a text", additions.DetokenizeResponse),
    "/api/rerank": Answered("Order documents by a query", additions.RerankResponse),
    "/api/pull": changing("Fetch a model"),
    "/api/push": changing("Publish a model"),
    "/api/create": changing("Make a model"),
    "/api/copy": Answered("Give a model a second name"),
    "/api/delete": DELETED,
    "/api/blobs/*": Answered("Upload a file, or ask whether it is there"),
    "/api/me": Answered("Tell whose account this is", account.UserResponse),
    "/api/signout": SIGNED_OUT,
    "/api/user/keys/*": SIGNED_OUT,
    "/api/experimental/web_search": Answered("Refused: a service of Ollama's cloud", JSON),
    "/api/experimental/web_fetch": Answered("Refused: a service of Ollama's cloud", JSON),
    "/api/experimental/model-recommendations": Answered(
        "Recommend models", account.RecommendationsResponse
    ),
    "/api/ollmlx/jobs": Answered("List the jobs, or begin one", live.JobsResponse | live.Job),
    "/api/ollmlx/jobs/*": Answered("Describe a job, or cancel it", live.Job),
    "/api/ollmlx/jobs/*/pause": Answered("Pause a job", live.Job),
    "/api/ollmlx/jobs/*/resume": Answered("Go on with a job", live.Job),
    "/api/ollmlx/running": Answered("Tell what is loaded", live.LiveModels),
    "/api/ollmlx/load": changing("Load a model"),
    "/api/ollmlx/unload": Answered("Unload a model", native.ProgressResponse),
    "/api/ollmlx/keep": Answered("Change how long a model stays", native.ProgressResponse),
    "/api/ollmlx/estimate": Answered("Tell what a model would take", live.EstimateResponse),
    "/api/ollmlx/search": Answered("Find models to pull", live.SearchResponse),
    "/api/ollmlx/telemetry": Answered("Tell what the models do", live.Telemetry),
    "/api/ollmlx/events": Answered("Tell what changes", None, live.Change, LINES),
    "/metrics": Answered("Tell what the models do, for Prometheus", TEXT),
    "/v1/models": Answered("List the models", openai.ModelList | anthropic.ModelPage),
    "/v1/models/*": Answered("Describe a model", openai.ModelObject | anthropic.ModelInfo),
    "/v1/messages": Answered(
        "Answer a conversation", anthropic.MessagesResponse, MESSAGE_EVENTS, EVENTS
    ),
    "/v1/messages/count_tokens": Answered(
        "Count a conversation's tokens", anthropic.CountTokensResponse
    ),
    "/v1/chat/completions": COMPLETED,
    "/api/chat/completions": COMPLETED,
    "/v1/completions": Answered(
        "Complete a prompt", openai.Completion, openai.CompletionChunk, EVENTS
    ),
    "/v1/embeddings": Answered("Embed texts", openai.EmbeddingList),
    "/v1/rerank": Answered("Order documents by a query", openai.RerankList),
    "/v1/responses": Answered("Answer a conversation", responses.Response, responses.Event, EVENTS),
    "/v1/audio/transcriptions": Answered("Write down what is said", openai.Transcription),
}
_FILE = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {
        "file": _FILE,
        "model": {"type": "string"},
        "language": {"type": "string"},
        "prompt": {"type": "string"},
        "response_format": {"enum": ["json", "text"]},
    },
    "required": ["file", "model"],
}
_INFO = {
    "title": "ollmlx",
    "version": __version__,
    "description": (
        "Ollama's API, and OpenAI's and Anthropic's, on models inside Jupyter.  Names of fields"
        " may be written in any case, unknown ones are passed over, null is the same as absence."
    ),
}


def document(routes: Iterable["Route"]) -> str:
    """OpenAPI 3.1 as JSON; its server is the address it was fetched from."""
    schemas, paths = Schemas(), dict[str, dict[str, Any]]()
    for route in routes:
        name = _parameter(route)
        path = route.path.replace("*", f"{{{name}}}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, name, schemas)
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": _INFO,
            "servers": [{"url": "."}],
            "security": [{}, {"jupyter": []}],
            "paths": paths,
            "components": {
                "schemas": schemas.components,
                "securitySchemes": {"jupyter": {"type": "http", "scheme": "bearer"}},
            },
        },
        ensure_ascii=False,
    )


def _parameter(route: "Route") -> str:
    if "*" not in route.path:
        return ""
    if route.path.startswith("/api/ollmlx/jobs/"):
        return "job"
    return {"/api/blobs/*": "digest", "/api/user/keys/*": "key"}.get(route.path, "model")


def _operation(route: "Route", parameter: str, schemas: Schemas) -> Schema:
    answered = ANSWERS[route.path]
    described: Schema = {
        "summary": answered.summary,
        "parameters": [*_parameters(route, parameter, schemas)],
        "responses": _responses(route, answered, schemas),
    }
    if body := _body(route, schemas):
        described["requestBody"] = {"content": body, "required": True}
    return described


def _parameters(route: "Route", parameter: str, schemas: Schemas) -> list[Schema]:
    found: list[Schema] = []
    if parameter:
        text = {"type": "string"}
        found.append({"name": parameter, "in": "path", "required": True, "schema": text})
    if route.method == "GET" and route.request:
        asked = schemas.inline(route.request)["properties"]
        for name, schema in asked.items():
            if schema.get("type") in ("string", "boolean", "integer"):
                found.append({"name": name, "in": "query", "schema": schema})
    return found


def _body(route: "Route", schemas: Schemas) -> Schema:
    if route.form:
        return {FORM: {"schema": _FORM}}
    if route.streams_body:
        return {BYTES: {"schema": _FILE}}
    if route.request and route.method != "GET":
        return {JSON: {"schema": schemas.request(route.request)}}
    return {}


def _responses(route: "Route", answered: Answered, schemas: Schemas) -> Schema:
    content: Schema = {}
    if route.method != "HEAD":
        if isinstance(answered.whole, str):
            content[answered.whole] = {}
        elif answered.whole:
            content[JSON] = {"schema": schemas.answer(answered.whole)}
        if answered.frame:
            content[answered.framing] = {"schema": schemas.answer(answered.frame)}
    status = "201" if route.streams_body else "200"
    done = {"description": "Done", **({"content": content} if content else {})}
    wrong = schemas.answer(type(dialects.document(dialects.of_request(route.path, {}), 500, "")))
    error = {"description": "What went wrong", "content": {JSON: {"schema": wrong}}}
    return {status: done, "default": error}
