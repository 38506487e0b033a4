"""Texts to vectors, in Ollama's newer and older way.  Conventions are those of `native`."""

from typing import Any

from msgspec import Raw, Struct

from ollmlx.wire.native import KeepAlive


class EmbedRequest(Struct):
    model: str = ""
    input: Any = None
    keep_alive: KeepAlive = None
    truncate: bool | None = None
    dimensions: int = 0
    options: dict[str, Any] = {}


class EmbedResponse(Struct, omit_defaults=True):
    model: str
    embeddings: list[Raw]
    """Each a JSON array of float32, in the shortest text that reads back the same."""
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0


class EmbeddingRequest(Struct):
    model: str = ""
    prompt: str = ""
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


class EmbeddingResponse(Struct):
    embedding: list[float]
