"""OpenAI's Responses API as types, as far as Ollama speaks it.

Field order is that of Ollama's whole answers; in events keys stand in alphabetical order.
Source: https://platform.openai.com/docs/api-reference/responses and Ollama's `openai/responses.go`.
"""

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType, field

from ollmlx.wire.native import Logprob
from ollmlx.wire.openai import Extras, Reasoning

# -- requests -------------------------------------------------------------------------------------


class ResponsesTool(Struct):
    """Unlike a chat's tool, a function is not one level down.  All but `tools` is always echoed."""

    type: str = ""
    name: str = ""
    description: str | None = None
    strict: bool | None = None
    parameters: dict[str, Any] | None = None
    tools: "list[ResponsesTool] | UnsetType" = UNSET
    """The members of a `namespace`."""


class ResponsesTextFormat(Struct, rename={"schema_": "schema"}):
    type: str = ""
    name: str | UnsetType = UNSET
    schema_: Any = UNSET
    strict: bool | UnsetType = UNSET
    pattern: Any = UNSET
    """As in a chat's `response_format`, and so are the next."""
    choices: Any = UNSET
    grammar: Any = UNSET


class ResponsesText(Struct):
    format: ResponsesTextFormat | None = None


class ResponsesReasoning(Reasoning):
    summary: str = ""
    generate_summary: str = ""
    """Older spelling, not used."""


class ResponsesRequest(Extras):
    model: str = ""
    input: Any = None
    """A text or a list of items."""
    instructions: str = ""
    max_output_tokens: int | None = None
    reasoning: ResponsesReasoning | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: ResponsesText | None = None
    tools: list[ResponsesTool] = field(default_factory=list)
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    include: list[str] = field(default_factory=list)
    top_logprobs: int = 0
    truncation: str | None = None
    background: bool = False
    previous_response_id: str = ""
    conversation: Any = None
    """None is kept here: what goes on from one is answered without it, and told so."""
    store: bool | None = None
    """Whether the response may be gone on from; not said is yes."""
    stream: bool = False


# -- items of the input: fields that nothing reads are there as a wrong type is refused ----------


class ItemKind(Struct):
    """What an item is; without a type, one with a role is a message."""

    type: str = ""
    role: str = ""


class ContentKind(Struct):
    type: str = ""


class ResponsesTextContent(Struct):
    text: str = ""


class ResponsesOutputTextContent(ResponsesTextContent):
    """What the model said."""


class ResponsesImageContent(Struct):
    detail: str = ""
    file_id: str = ""
    image_url: str = ""


class ResponsesFileContent(Struct):
    file_data: str = ""
    file_id: str = ""
    file_url: str = ""
    filename: str = ""


Content = ResponsesTextContent | ResponsesImageContent | ResponsesFileContent


class ResponsesInputMessage(Struct):
    role: str = ""
    content: Any = None
    """A text or a list of contents, as the output of a call."""


class ResponsesFunctionCall(Struct):
    id: str = ""
    call_id: str = ""
    name: str = ""
    namespace: str = ""
    arguments: str = ""
    """JSON."""


class ResponsesFunctionCallOutput(Struct):
    call_id: str = ""
    output: Any = None


class ResponsesReasoningSummary(Struct):
    type: str = ""
    text: str = ""


class ResponsesReasoningInput(Struct):
    id: str = ""
    summary: list[ResponsesReasoningSummary] = []
    encrypted_content: str = ""


class ResponsesWebSearchAction(Struct):
    type: str = ""
    query: str = ""


class ResponsesWebSearchCall(Struct):
    id: str = ""
    status: str = ""
    action: ResponsesWebSearchAction | None = None


InputItem = (
    ResponsesInputMessage
    | ResponsesFunctionCall
    | ResponsesFunctionCallOutput
    | ResponsesReasoningInput
    | ResponsesWebSearchCall
)


# -- answers --------------------------------------------------------------------------------------


class Part(Struct, tag_field="type", tag="output_text"):
    text: str = ""
    annotations: list[Any] = []
    logprobs: list[Logprob] = []


class Summary(Struct, tag_field="type", tag="summary_text"):
    text: str


class MessageItem(Struct, kw_only=True):
    id: str
    type: str = "message"
    status: str = "completed"
    role: str = "assistant"
    content: list[Part] = []


class CallItem(Struct, kw_only=True):
    id: str
    type: str = "function_call"
    status: str = "completed"
    call_id: str
    name: str
    arguments: str
    namespace: str | UnsetType = UNSET


class ReasoningItem(Struct, kw_only=True):
    id: str
    type: str = "reasoning"
    summary: list[Summary] = []
    encrypted_content: str | UnsetType = UNSET
    """The thoughts once more, and not encrypted: clients send them back with the next request."""


class Search(Struct, tag_field="type", tag="search"):
    query: str


class SearchItem(Struct, kw_only=True):
    id: str
    type: str = "web_search_call"
    status: str = "in_progress"
    action: Search


Item = MessageItem | CallItem | ReasoningItem | SearchItem


class InputTokens(Struct):
    cached_tokens: int


class OutputTokens(Struct):
    reasoning_tokens: int


class Usage(Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputTokens
    output_tokens_details: OutputTokens


class Error(Struct):
    code: str
    message: str


class TextEcho(Struct):
    format: ResponsesTextFormat


class ReasoningEcho(Struct):
    effort: str | UnsetType | None
    summary: str | UnsetType | None


class Response(Struct, kw_only=True):
    """All keys are always there."""

    id: str
    object: str = "response"
    created_at: int
    """Seconds, as in the next."""
    completed_at: int | None = None
    status: str
    incomplete_details: None = None
    model: str
    previous_response_id: str | None = None
    instructions: str | None
    output: list[Item] = []
    error: Error | None = None
    tools: list[ResponsesTool]
    tool_choice: Any
    truncation: str
    parallel_tool_calls: bool
    text: TextEcho
    top_p: float | int
    presence_penalty: int = 0
    frequency_penalty: int = 0
    top_logprobs: int
    temperature: float | int
    reasoning: ReasoningEcho | None
    usage: Usage | None = None
    max_output_tokens: int | None
    max_tool_calls: None = None
    store: bool
    background: bool
    service_tier: str = "default"
    metadata: dict[str, Any] = {}
    safety_identifier: None = None
    prompt_cache_key: None = None


class Event(Struct, kw_only=True):
    """Any of the events: those that its type has not are left out.

    Raw are objects whose keys are in alphabetical order already.
    """

    arguments: str | UnsetType = UNSET
    content_index: int | UnsetType = UNSET
    delta: str | UnsetType = UNSET
    item: Raw | UnsetType = UNSET
    item_id: str | UnsetType = UNSET
    logprobs: list[Logprob] | UnsetType = UNSET
    output_index: int | UnsetType = UNSET
    part: Raw | UnsetType = UNSET
    response: Raw | UnsetType = UNSET
    sequence_number: int
    summary_index: int | UnsetType = UNSET
    text: str | UnsetType = UNSET
    type: str
