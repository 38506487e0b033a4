"""The OpenAI API as types, as far as Ollama speaks it.

Source: https://platform.openai.com/docs/api-reference and Ollama's `openai/openai.go`.
"""

from typing import Any

from msgspec import Raw, Struct

from ollmlx.wire.native import Logprob, Tool


class ErrorBody(Struct):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorEnvelope(Struct):
    error: ErrorBody


# -- requests -------------------------------------------------------------------------------------


class StreamOptions(Struct):
    include_usage: bool = False


class JsonSchema(Struct, rename={"schema_": "schema"}):
    schema_: Any = None


class ResponseFormat(Struct):
    type: str = ""
    json_schema: JsonSchema | None = None


class Reasoning(Struct):
    effort: str = ""


class ChatMessage(Struct):
    role: str = ""
    content: Any = None
    reasoning: str = ""
    tool_calls: Any = None
    name: str = ""
    tool_call_id: str = ""


class ChatCompletionRequest(Struct, rename={"debug_render_only": "_debug_render_only"}):
    model: str = ""
    messages: list[ChatMessage] = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    stop: Any = None
    temperature: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    top_p: float | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] = []
    reasoning: Reasoning | None = None
    reasoning_effort: str | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = False


class CompletionRequest(Struct, rename={"debug_render_only": "_debug_render_only"}):
    model: str = ""
    prompt: str = ""
    suffix: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Any = None
    temperature: float | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    top_p: float = 0.0
    logprobs: int | None = None
    debug_render_only: bool = False


class EmbeddingsRequest(Struct):
    model: str = ""
    input: Any = None
    dimensions: int = 0
    encoding_format: str = ""


# -- answers --------------------------------------------------------------------------------------


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Function(Struct):
    name: str
    arguments: str
    """JSON."""


class CalledTool(Struct):
    id: str
    index: int
    type: str
    function: Function


class Logprobs(Struct):
    content: list[Logprob]


class Answered(Struct, omit_defaults=True):
    role: str
    content: str
    reasoning: str = ""
    tool_calls: list[CalledTool] = []


class Choice(Struct, omit_defaults=True):
    index: int
    message: Answered
    finish_reason: str | None
    logprobs: Logprobs | None = None


class ChatCompletion(Struct, omit_defaults=True):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage


class Delta(Struct, omit_defaults=True):
    role: str = ""
    content: str | None = None
    reasoning: str = ""
    tool_calls: list[CalledTool] = []


class ChunkChoice(Struct, omit_defaults=True):
    index: int
    delta: Delta
    finish_reason: str | None
    logprobs: Logprobs | None = None


class ChatCompletionChunk(Struct, omit_defaults=True):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class TextChoice(Struct, omit_defaults=True):
    text: str
    index: int
    finish_reason: str | None
    logprobs: Logprobs | None = None


class Completion(Struct):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Usage


class CompletionChunk(Struct, omit_defaults=True):
    id: str
    object: str
    created: int
    choices: list[TextChoice]
    model: str
    system_fingerprint: str
    usage: Usage | None = None


class ModelObject(Struct):
    id: str
    object: str
    created: int
    owned_by: str


class ModelList(Struct):
    object: str
    data: list[ModelObject] | None


class EmbeddingObject(Struct):
    object: str
    embedding: Raw
    index: int


class EmbeddingsUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct):
    object: str
    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingsUsage
