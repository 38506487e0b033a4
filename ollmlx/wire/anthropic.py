"""The Anthropic API as types, as far as Ollama speaks it and a little further.

Source: https://docs.anthropic.com/en/api/messages and Ollama's `anthropic/anthropic.go`.
"""

from typing import Annotated, Any

from msgspec import Struct

from ollmlx.wire.native import ThinkingBudget


class Error(Struct):
    type: str
    message: str


class ErrorResponse(Struct):
    type: str
    """`error`, also as an event's name."""
    error: Error
    request_id: str


# -- requests -------------------------------------------------------------------------------------


class ImageSource(Struct):
    type: str = ""
    media_type: str = ""
    data: str = ""
    url: str = ""


class Citation(Struct, omit_defaults=True):
    type: str = ""
    url: str = ""
    title: str = ""
    encrypted_index: str = ""
    cited_text: str = ""


class ContentBlock(Struct, omit_defaults=True):
    """Any block: which fields mean something depends on its type."""

    type: str = ""
    text: str | None = None
    citations: list[Citation] = []
    source: ImageSource | None = None
    id: str = ""
    name: str = ""
    input: Annotated[dict[str, Any], "ordered"] = {}
    tool_use_id: str = ""
    content: Any = None
    is_error: bool = False
    thinking: str | None = None
    signature: str = ""


class MessageParam(Struct):
    role: str = ""
    content: list[ContentBlock] = []


MessageParams = Annotated[list[MessageParam], "anthropic_messages"]
"""On the wire a content may be a text too, which stands for one block of it."""


class Tool(Struct):
    type: str = ""
    name: str = ""
    description: str = ""
    input_schema: Any = None
    max_uses: int = 0
    """Of the web search, of which there is none; the type is checked."""


class ToolChoice(Struct):
    type: str = ""
    name: str = ""
    disable_parallel_tool_use: bool = False


class ThinkingConfig(Struct):
    type: str = ""
    budget_tokens: ThinkingBudget = None


class Metadata(Struct):
    user_id: str = ""


class OutputFormat(Struct, rename={"schema_": "schema"}):
    type: str = ""
    schema_: Any = None


class OutputConfig(Struct):
    effort: str = ""
    format: OutputFormat | None = None
    """Anthropic's structured outputs, which Ollama does not know."""


class CountTokensRequest(Struct):
    model: str = ""
    messages: MessageParams = []
    system: Any = None
    """A text, or blocks of it."""
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    """As `output_config.format`, in the words of the first beta."""


class MessagesRequest(CountTokensRequest):
    max_tokens: int = 0
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] = []


class ModelsRequest(Struct):
    before_id: str = ""
    after_id: str = ""
    limit: str = ""
    parameter: str = ""
    """The model's name, where the path has one."""
    anthropic_version: str = ""
    """The header that tells Anthropic's clients from OpenAI's."""


# -- answers --------------------------------------------------------------------------------------


class ThinkingBlock(Struct):
    type: str
    thinking: str


class TextBlock(Struct):
    type: str
    text: str


class ToolUseBlock(Struct):
    """A call: of the client's tools (`tool_use`), or of the server's (`server_tool_use`)."""

    type: str
    id: str
    name: str
    input: dict[str, Any]


class WebSearchError(Struct):
    type: str
    error_code: str


class WebSearchResultBlock(Struct):
    type: str
    tool_use_id: str
    content: WebSearchError


Block = ThinkingBlock | TextBlock | ToolUseBlock | WebSearchResultBlock


class Usage(Struct, omit_defaults=True):
    input_tokens: int
    """Those that had to be read: without the ones that came out of a cache."""
    output_tokens: int
    cache_read_input_tokens: int = 0


class MessagesResponse(Struct, omit_defaults=True, kw_only=True):
    id: str
    type: str
    role: str
    model: str
    content: list[Block] | None
    stop_reason: str = ""
    usage: Usage


class CountTokensResponse(Struct):
    input_tokens: int


class ModelInfo(Struct):
    type: str
    id: str
    display_name: str
    created_at: str


class ModelPage(Struct):
    data: list[ModelInfo]
    has_more: bool
    first_id: str | None
    last_id: str | None


# -- events ---------------------------------------------------------------------------------------


class MessageStart(Struct):
    type: str
    message: MessagesResponse


class BlockStart(Struct):
    type: str
    index: int
    content_block: Block


class ThinkingDelta(Struct):
    type: str
    thinking: str


class TextDelta(Struct):
    type: str
    text: str


class InputDelta(Struct):
    type: str
    partial_json: str


class BlockDelta(Struct):
    type: str
    index: int
    delta: ThinkingDelta | TextDelta | InputDelta


class BlockStop(Struct):
    type: str
    index: int


class MessageEnd(Struct, omit_defaults=True):
    stop_reason: str = ""


class MessageDelta(Struct):
    type: str
    delta: MessageEnd
    usage: Usage


class MessageStop(Struct):
    type: str
