"""Every route in one table: method, path, request, operation."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from ollmlx.api import (
    account,
    changes,
    dialects,
    embed,
    estimating,
    events,
    generate,
    loading,
    managing,
    models,
    openapi,
    rerank,
    searching,
    telemetry,
    tokens,
    transcriptions,
    transfers,
)
from ollmlx.api.answers import Answer, Whole
from ollmlx.api.anthropic import endpoint as anthropic
from ollmlx.api.anthropic import models as anthropic_models
from ollmlx.api.creating import create as creating
from ollmlx.api.openai import chat as openai_chat
from ollmlx.api.openai import completions as openai_completions
from ollmlx.api.responses import endpoint as responses
from ollmlx.wire import additions, embeddings, live, native
from ollmlx.wire import anthropic as anthropic_wire
from ollmlx.wire import openai as wire
from ollmlx.wire.account import CloudRequest
from ollmlx.wire.responses import ResponsesRequest

_METHODS = ("HEAD", "GET", "POST", "DELETE")
"""In the order in which Ollama lists those of a path."""
Operation = Callable[[Any, Any], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    """A `*` stands for its parameter, slashes included."""
    operation: Operation
    request: type[Struct] | None = None
    """What the body holds, or for GET the query; without one the operation gets the path's
    parameter.
    """
    streams_body: bool = False
    """The operation gets an `Upload` and reads the body itself, however long it is."""
    form: bool = False
    """The operation gets a `Form`."""

    @property
    def compressible(self) -> bool:
        """Whether a body may come compressed, as in Ollama all of the other APIs' may."""
        return self.path.startswith("/v1/")

    @property
    def when_empty(self) -> str:
        """The error for a body with nothing in it."""
        native = dialects.of_request(self.path, {}) == "native"
        return "missing request body" if native else "EOF"


async def described(_engine: Any, _parameter: str) -> Answer:
    return Whole(openapi.document(ROUTES))


ROUTES = (
    Route("GET", "/", models.root),
    Route("HEAD", "/", models.root),
    Route("GET", "/openapi.json", described),
    Route("GET", "/api/version", models.version),
    Route("HEAD", "/api/version", models.version),
    Route("GET", "/api/status", models.status),
    Route("GET", "/api/tags", models.tags),
    Route("HEAD", "/api/tags", models.tags),
    Route("GET", "/api/sources", models.sources),
    Route("GET", "/api/ps", models.ps),
    Route("POST", "/api/show", models.show, native.ShowRequest),
    Route("GET", "/api/show", models.show, native.ShowRequest),
    Route("POST", "/api/generate", generate.generate, native.GenerateRequest),
    Route("POST", "/api/chat", generate.chat, native.ChatRequest),
    Route("POST", "/api/embed", embed.embed, embeddings.EmbedRequest),
    Route("POST", "/api/embeddings", embed.embeddings, embeddings.EmbeddingRequest),
    Route("POST", "/api/tokenize", tokens.tokenize, additions.TokenizeRequest),
    Route("POST", "/api/detokenize", tokens.detokenize, additions.DetokenizeRequest),
    Route("POST", "/api/rerank", rerank.rerank, additions.RerankRequest),
    Route("POST", "/api/pull", transfers.pull, native.PullRequest),
    Route("POST", "/api/push", transfers.push, native.PushRequest),
    Route("POST", "/api/create", creating.create, native.CreateRequest),
    Route("POST", "/api/copy", changes.copy, native.CopyRequest),
    Route("DELETE", "/api/delete", changes.delete, native.DeleteRequest),
    Route("POST", "/api/delete", changes.delete, native.DeleteRequest),
    Route("POST", "/api/blobs/*", changes.upload, streams_body=True),
    Route("HEAD", "/api/blobs/*", changes.has_blob),
    Route("POST", "/api/me", account.me),
    Route("POST", "/api/signout", account.sign_out),
    Route("DELETE", "/api/user/keys/*", account.sign_out),
    Route("POST", "/api/experimental/web_search", account.web_search, CloudRequest),
    Route("POST", "/api/experimental/web_fetch", account.web_fetch, CloudRequest),
    Route("GET", "/api/experimental/model-recommendations", account.recommendations),
    Route("GET", "/api/ollmlx/jobs", managing.jobs),
    Route("POST", "/api/ollmlx/jobs", managing.begin, live.JobRequest),
    Route("GET", "/api/ollmlx/jobs/*", managing.job),
    Route("DELETE", "/api/ollmlx/jobs/*", managing.cancel),
    Route("POST", "/api/ollmlx/jobs/*/pause", managing.pause),
    Route("POST", "/api/ollmlx/jobs/*/resume", managing.resume),
    Route("GET", "/api/ollmlx/running", loading.running),
    Route("POST", "/api/ollmlx/load", loading.load, live.LoadRequest),
    Route("POST", "/api/ollmlx/unload", loading.unload, live.UnloadRequest),
    Route("POST", "/api/ollmlx/keep", loading.keep, live.KeepRequest),
    Route("GET", "/api/ollmlx/estimate", estimating.estimate, live.EstimateRequest),
    Route("GET", "/api/ollmlx/search", searching.search, live.SearchRequest),
    Route("GET", "/api/ollmlx/telemetry", telemetry.telemetry),
    Route("GET", "/api/ollmlx/events", events.events, live.EventsRequest),
    Route("GET", "/metrics", telemetry.metrics),
    Route("GET", "/v1/models", anthropic_models.listing, anthropic_wire.ModelsRequest),
    Route("GET", "/v1/models/*", anthropic_models.one, anthropic_wire.ModelsRequest),
    Route("POST", "/v1/messages", anthropic.messages, anthropic_wire.MessagesRequest),
    Route(
        "POST",
        "/v1/messages/count_tokens",
        anthropic.count_tokens,
        anthropic_wire.CountTokensRequest,
    ),
    Route("POST", "/v1/chat/completions", openai_chat.chat, wire.ChatCompletionRequest),
    Route("POST", "/api/chat/completions", openai_chat.chat, wire.ChatCompletionRequest),
    Route("POST", "/v1/completions", openai_completions.completions, wire.CompletionRequest),
    Route("POST", "/v1/embeddings", embed.openai_embeddings, wire.EmbedRequest),
    Route("POST", "/v1/rerank", rerank.openai_rerank, additions.RerankRequest),
    Route("POST", "/v1/responses", responses.responses, ResponsesRequest),
    Route("POST", "/v1/audio/transcriptions", transcriptions.transcriptions, form=True),
)


def find(method: str, path: str) -> tuple[Route | None, str, list[str]]:
    """The route, the parameter in its path, and the methods that the path has."""
    path = unquote(path)
    matches = [(route, rest) for route in ROUTES if (rest := _match(route.path, path)) is not None]
    found = next(((route, rest) for route, rest in matches if route.method == method), (None, ""))
    methods = {route.method for route, _ in matches}
    return *found, [method for method in _METHODS if method in methods]


def _match(pattern: str, path: str) -> str | None:
    before, star, after = pattern.partition("*")
    if not star:
        return "" if path == pattern else None
    rest = path.removeprefix(before).removesuffix(after)
    return rest if rest and before + rest + after == path else None
