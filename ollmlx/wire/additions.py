"""Requests and answers of the routes that Ollama does not have: tokens and ranks, where models lie.

Conventions are those of `native`.
"""

from typing import Any

from msgspec import Struct

from ollmlx.wire.native import KeepAlive


class TokenizeRequest(Struct):
    model: str = ""
    text: str = ""
    special: bool | None = None
    """False: without the begin and end tokens that the model adds to a text."""
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


class TokenizeResponse(Struct):
    model: str
    tokens: list[int]
    total_duration: int
    load_duration: int


class DetokenizeRequest(Struct):
    model: str = ""
    tokens: list[int] = []
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


class DetokenizeResponse(Struct):
    model: str
    text: str
    total_duration: int
    load_duration: int


class RerankRequest(Struct):
    model: str = ""
    query: str = ""
    documents: list[Any] = []
    """Texts, or objects with a `text`."""
    top_n: int | None = None
    return_documents: bool = False
    truncate: bool | None = None
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


class RankedDocument(Struct):
    text: str


class Ranked(Struct, omit_defaults=True):
    index: int
    """Of the document in the request."""
    relevance_score: float
    """From 0 to 1."""
    document: RankedDocument | None = None


class RerankResponse(Struct):
    """Best first."""

    model: str
    results: list[Ranked]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class ModelSource(Struct):
    """One of /api/sources, which is ollmlx's own: where an installed model lies."""

    name: str
    source: str
    """`ollama`, `ollmlx`, `embedded`, `huggingface` or `lmstudio`."""
    path: str


class SourcesResponse(Struct):
    models: list[ModelSource]
