"""The OpenAI API as types, as far as Ollama speaks it.

Source: https://platform.openai.com/docs/api-reference and Ollama's `openai/openai.go`.
"""

from typing import Any

from msgspec import UNSET, Raw, Struct, field

from ollmlx.wire.additions import Ranked
from ollmlx.wire.decode import Float32
from ollmlx.wire.native import DebugInfo, KeepAlive, Logprob, Think, ThinkingBudget, Tool


class ErrorBody(Struct):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorEnvelope(Struct):
    error: ErrorBody


# -- requests -------------------------------------------------------------------------------------


class Extras(Struct):
    """What requests take besides OpenAI's fields: Ollama's own, under Ollama's names."""

    keep_alive: KeepAlive = None
    think: Think = None
    """Where no effort is given."""
    thinking_budget: ThinkingBudget = None
    options: dict[str, Any] = {}
    """As in Ollama's API; a field of the same meaning wins."""
    num_ctx: int | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    logit_bias: dict[str, float] = {}
    """Token id → what is added to its logit."""


class StreamOptions(Struct):
    include_usage: bool = False


class JsonSchema(Struct, rename={"schema_": "schema"}):
    schema_: Any = None


class ResponseFormat(Struct):
    type: str = ""
    json_schema: JsonSchema | None = None
    pattern: Any = UNSET
    """Of a `regex`, and the next of a `choice`, of `lark` and `gbnf`: as in Ollama's `format`."""
    choices: Any = UNSET
    grammar: Any = UNSET


class Reasoning(Struct):
    effort: str = ""


class Function(Struct):
    name: str = ""
    arguments: str = ""
    """JSON."""


class ToolCall(Struct):
    id: str = ""
    index: int = 0
    type: str = ""
    function: Function = field(default_factory=Function)


class Message(Struct):
    role: str = ""
    content: Any = None
    reasoning: str = ""
    tool_calls: list[ToolCall] | None = None
    name: str = ""
    tool_call_id: str = ""


class ChatCompletionRequest(Extras, rename={"debug_render_only": "_debug_render_only"}):
    model: str = ""
    messages: list[Message] = []
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
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    functions: Any = None
    """Older spelling of `tools`: refused, and so is the next."""
    function_call: Any = None
    modalities: list[str] = []
    reasoning: Reasoning | None = None
    reasoning_effort: str | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    n: int | None = None
    debug_render_only: bool = False


class CompletionRequest(Extras, rename={"debug_render_only": "_debug_render_only"}):
    model: str = ""
    prompt: Any = ""
    """A text, or more than one: each is answered by itself.  Token ids stand for their text."""
    suffix: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Any = None
    temperature: Float32 | None = None
    frequency_penalty: Float32 = Float32(0.0)
    presence_penalty: Float32 = Float32(0.0)
    top_p: Float32 = Float32(0.0)
    logprobs: int | None = None
    n: int | None = None
    best_of: int | None = None
    echo: bool = False
    debug_render_only: bool = False


class EmbedRequest(Struct):
    model: str = ""
    input: Any = None
    dimensions: int = 0
    encoding_format: str = ""
    keep_alive: KeepAlive = None
    """Ollama's, as the next."""
    options: dict[str, Any] = {}


# -- answers --------------------------------------------------------------------------------------


class PromptTokens(Struct):
    cached_tokens: int


class CompletionTokens(Struct):
    reasoning_tokens: int


class Usage(Struct, omit_defaults=True):
    """The details are only there when there is something to tell."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens | None = None
    completion_tokens_details: CompletionTokens | None = None


class Logprobs(Struct):
    content: list[Logprob]


class Answered(Struct, omit_defaults=True):
    role: str
    content: str
    reasoning: str = ""
    tool_calls: list[ToolCall] = []


class Choice(Struct, omit_defaults=True):
    index: int
    message: Answered
    finish_reason: str | None
    logprobs: Logprobs | None = None


class ChatCompletion(Struct, omit_defaults=True, rename={"debug_info": "_debug_info"}):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage
    debug_info: DebugInfo | None = None


class Delta(Struct, omit_defaults=True):
    role: str = ""
    content: str | None = None
    reasoning: str = ""
    tool_calls: list[ToolCall] = []


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


class TextLogprobs(Struct):
    """Of a completion's text, a list entry a token."""

    text_offset: list[int]
    """Characters before the token, counted from the text's beginning."""
    token_logprobs: list[float | int]
    tokens: list[str]
    top_logprobs: list[dict[str, float | int]]


class TextChoice(Struct, omit_defaults=True):
    text: str
    index: int
    finish_reason: str | None
    logprobs: TextLogprobs | None = None


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


class Transcription(Struct):
    text: str


class RerankList(Struct):
    """Not OpenAI's: as Jina, vLLM and llama.cpp have it."""

    object: str
    model: str
    results: list[Ranked]
    usage: EmbeddingsUsage
