"""The Ollama API as types: the vocabulary of the whole house.

A field without a default is always written, one with a default only when it differs (Go's
`omitempty`).  Field order is the order on the wire.  Durations are nanoseconds, sizes bytes, times
RFC 3339 text. Source: Ollama's `api/types.go` as of 2026-08, https://docs.ollama.com/api.
"""

from typing import Annotated, Any

from msgspec import Struct, field

OLLAMA_VERSION = "0.33.0"
"""The release whose API this is.  Clients ask for a least one: Copilot for 0.6.4."""
KeepAlive = Annotated[float | None, "keep_alive"]
"""Seconds; infinity is for ever, None not said."""
Think = Annotated[bool | str | None, "think"]
ToolChoice = Annotated[Any, "tool_choice"]
"""`auto`, `none`, `required`, or OpenAI's `{"type": "function", "function": {"name": …}}`."""
ThinkingBudget = Annotated[int | None, "thinking_budget"]
"""Tokens of thought after which the thought is closed; None is no limit."""
Image = Annotated[str, "image"]
"""Standard base64 with padding."""

# -- shared ----------------------------------------------------------------------------------------


class ToolProperty(Struct, omit_defaults=True, rename={"any_of": "anyOf"}):
    """What is kept of a parameter's JSON Schema before it meets a template."""

    any_of: list["ToolProperty"] = []
    type: list[str] | str | None = None
    items: Any = None
    description: str = ""
    enum: list[Any] = []
    properties: Annotated[dict[str, "ToolProperty"] | None, "ordered"] = None
    required: list[str] = []


class ToolFunctionParameters(Struct, omit_defaults=True, rename={"defs": "$defs"}):
    type: str = ""
    defs: Any = None
    items: Any = None
    required: list[str] = []
    properties: Annotated[dict[str, ToolProperty] | None, "ordered"] = None
    """An empty one is not the same as none: templates print `{}` and `null`."""
    whole: Any = None
    """The JSON Schema as it was sent, filled by `decode`: calls are held to it, but templates are
    not shown it."""


class ToolFunction(Struct, omit_defaults=True):
    name: str = ""
    description: str = ""
    parameters: ToolFunctionParameters = field(default_factory=ToolFunctionParameters)


class Tool(Struct, omit_defaults=True):
    type: str = ""
    items: Any = None
    function: ToolFunction = field(default_factory=ToolFunction)


class ToolCallFunction(Struct):
    name: str = ""
    arguments: Annotated[dict[str, Any], "ordered"] = {}
    index: int = 0


class ToolCall(Struct, omit_defaults=True):
    function: ToolCallFunction = field(default_factory=ToolCallFunction)
    id: str = ""


class Message(Struct, omit_defaults=True):
    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[Image] = []
    tool_calls: list[ToolCall] = []
    tool_name: str = ""
    tool_call_id: str = ""


class Reply(Struct, omit_defaults=True):
    """A message of an answer: its role and content are always written."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: list["ReplyToolCall"] = []


class ReplyFunction(Struct):
    index: int
    name: str
    arguments: dict[str, Any]


class ReplyToolCall(Struct, omit_defaults=True, kw_only=True):
    id: str = ""
    """Empty, and so absent, on /api/generate."""
    function: ReplyFunction


class TopLogprob(Struct, omit_defaults=True):
    token: str
    logprob: float | int
    bytes: list[int] = []


class Logprob(Struct, omit_defaults=True):
    token: str
    logprob: float | int
    bytes: list[int] = []
    top_logprobs: list[TopLogprob] = []


class ModelDetails(Struct, omit_defaults=True):
    parent_model: str
    format: str
    family: str
    families: list[str] | None
    parameter_size: str
    quantization_level: str
    context_length: int = 0
    """Written by /api/tags only, like the next."""
    embedding_length: int = 0


# -- generate and chat -----------------------------------------------------------------------------


class GenerateRequest(Struct, rename={"debug_render_only": "_debug_render_only"}):
    model: str = ""
    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] = []
    stream: bool | None = None
    raw: bool = False
    format: Any = None
    keep_alive: KeepAlive = None
    images: list[Image] = []
    options: dict[str, Any] = {}
    think: Think = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = False
    thinking_budget: ThinkingBudget = None
    """Not Ollama's."""


class ChatRequest(Struct, rename={"debug_render_only": "_debug_render_only"}):
    model: str = ""
    messages: list[Message] = []
    stream: bool | None = None
    format: Any = None
    keep_alive: KeepAlive = None
    tools: Annotated[list[Tool], "tools"] = []
    options: dict[str, Any] = {}
    think: Think = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = False
    tool_choice: ToolChoice = None
    """Not Ollama's, as the next two; None is `auto`."""
    parallel_tool_calls: bool | None = None
    """False: at most one call an answer."""
    thinking_budget: ThinkingBudget = None


class DebugInfo(Struct, omit_defaults=True):
    rendered_template: str
    image_count: int = 0


class Metrics(Struct, frozen=True):
    """What a finished generation cost; copied into the last response."""

    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    cached_tokens: int = 0
    thinking_tokens: int = 0


class GenerateResponse(
    Struct, omit_defaults=True, kw_only=True, rename={"debug_info": "_debug_info"}
):
    model: str
    created_at: str
    response: str
    thinking: str = ""
    done: bool
    done_reason: str = ""
    context: list[int] = []
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    tool_calls: list[ReplyToolCall] = []
    debug_info: DebugInfo | None = None
    logprobs: list[Logprob] = []
    cached_tokens: int = 0
    """For the other APIs, as the next: taken off before Ollama's own is answered."""
    thinking_tokens: int = 0


class ChatResponse(Struct, omit_defaults=True, rename={"debug_info": "_debug_info"}):
    model: str
    created_at: str
    message: Reply
    done: bool
    done_reason: str = ""
    debug_info: DebugInfo | None = None
    logprobs: list[Logprob] = []
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    cached_tokens: int = 0
    """For the other APIs, as the next: taken off before Ollama's own is answered."""
    thinking_tokens: int = 0


# -- models ----------------------------------------------------------------------------------------


class ShowRequest(Struct):
    model: str = ""
    name: str = ""
    """Old spelling of `model`."""
    verbose: bool = False
    system: str = ""
    template: str = ""
    options: dict[str, Any] = {}
    user_agent: str = ""
    """Filled from the header of that name: one client is told a model's name in another place."""


class ShowMessage(Struct):
    role: str
    content: str


class Tensor(Struct):
    name: str
    type: str
    shape: list[int]


class ShowResponse(Struct, omit_defaults=True, kw_only=True):
    license: str = ""
    modelfile: str = ""
    parameters: str = ""
    template: str = ""
    system: str = ""
    details: ModelDetails
    messages: list[ShowMessage] = []
    model_info: dict[str, Any]
    projector_info: dict[str, Any] = {}
    tensors: list[Tensor] = []
    capabilities: list[str] = []
    modified_at: str
    requires: str = ""


class ListedModel(Struct, omit_defaults=True, kw_only=True):
    name: str
    model: str
    remote_model: str = ""
    remote_host: str = ""
    modified_at: str
    size: int
    digest: str
    details: ModelDetails
    capabilities: list[str] = []


class ListResponse(Struct):
    models: list[ListedModel]


class RunningModel(Struct):
    name: str
    model: str
    size: int
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: int
    context_length: int


class ProcessResponse(Struct):
    models: list[RunningModel]


# -- the store's changes -------------------------------------------------------------------------


class PullRequest(Struct):
    model: str = ""
    name: str = ""
    """Old spelling of `model`."""
    insecure: bool = False
    username: str = ""
    """Taken and not used, like the next, as by Ollama."""
    password: str = ""
    stream: bool | None = None


class PushRequest(PullRequest):
    """Its twin, told apart in error texts."""


class CopyRequest(Struct):
    source: str = ""
    destination: str = ""


class DeleteRequest(Struct):
    model: str = ""
    name: str = ""


class CreateRequest(Struct, rename={"from_": "from"}):
    model: str = ""
    name: str = ""
    from_: str = ""
    files: dict[str, str] = {}
    """File name → digest of a blob that was uploaded before."""
    adapters: dict[str, str] = {}
    draft_files: dict[str, str] = {}
    draft_quantize: str = ""
    quantize: str = ""
    quantization: str = ""
    """Old spelling of `quantize`."""
    template: str = ""
    system: str = ""
    license: Any = None
    """A text or a list of texts."""
    parameters: dict[str, Any] = {}
    messages: list[Message] = []
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    info: dict[str, Any] = {}
    remote_host: str = ""
    stream: bool | None = None


class ProgressResponse(Struct, omit_defaults=True):
    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0


class VersionResponse(Struct):
    version: str = OLLAMA_VERSION


class CloudStatus(Struct):
    disabled: bool
    source: str


class StatusResponse(Struct):
    cloud: CloudStatus


class ErrorResponse(Struct):
    error: str
