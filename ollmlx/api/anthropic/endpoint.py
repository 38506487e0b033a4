"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's API around the same generators."""

from typing import Any

from msgspec import structs

from ollmlx.api import generate, images, options, requests, writing
from ollmlx.api.answers import Answer, Stream
from ollmlx.api.anthropic import answer as anthropic_answer
from ollmlx.api.anthropic import stream as anthropic_stream
from ollmlx.api.anthropic.answer import Head
from ollmlx.api.anthropic.messages import native_messages, native_tools, searches_web
from ollmlx.api.dialects import new_id
from ollmlx.api.engine import Engine
from ollmlx.api.openai.envelope import whole
from ollmlx.api.requests import Think
from ollmlx.errors import Malformed
from ollmlx.wire import anthropic as wire
from ollmlx.wire.encode import encode
from ollmlx.wire.native import ChatRequest, ChatResponse, Reply

_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "max": "max", "xhigh": "high"}
_CHOICES = {"": None, "auto": "auto", "any": "required", "none": "none"}
_CHARACTERS_A_TOKEN = 4


async def messages(engine: Engine, request: wire.MessagesRequest) -> Answer:
    if not request.model.strip():
        raise Malformed("model is required")
    if request.max_tokens <= 0:
        raise Malformed("max_tokens is required and must be positive")
    chat = await _native(engine, request, _options(request))
    head = Head(new_id("msg"), request.model, searches_web(request.tools))
    frames = generate.chats(engine, chat)
    if request.stream:
        return Stream(anthropic_stream.events(frames, head, _estimate(request)), "events")
    # A model that only repeated itself is stopped without a last word.
    unfinished = ChatResponse(request.model, "", Reply("assistant", ""), False)
    return whole(anthropic_answer.message(head, await generate.fold(frames) or unfinished))


async def count_tokens(engine: Engine, request: wire.CountTokensRequest) -> Answer:
    """The tokens of the prompt that the model's template makes, and of the pictures in it."""
    if not request.model.strip():
        raise Malformed("model is required")
    chat = await _native(engine, request, {})
    shown = structs.replace(chat, debug_render_only=True, truncate=False)
    answer = await generate.fold(generate.chats(engine, shown))
    prompt = answer.debug_info.rendered_template if answer and answer.debug_info else ""
    model = await requests.find(engine, request.model)
    async with requests.lend(engine, model, options.merge(model, {}), None) as process:
        pictures = images.shown(chat.messages)
        looked = await images.look(process, model, pictures, render_only=True)
        media = [looked[picture] for picture in pictures]
        tokens = await writing.read(process, prompt, media=media)
    return whole(wire.CountTokensResponse(len(tokens)))


async def _native(
    engine: Engine, request: wire.CountTokensRequest, chosen: dict[str, Any]
) -> ChatRequest:
    if not request.messages:
        raise Malformed("messages is required")
    choice = request.tool_choice
    chat = ChatRequest(
        model=request.model,
        messages=native_messages(request),
        tools=native_tools(request.tools),
        tool_choice=_tool_choice(choice),
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        format=_format(request),
        think=_think(request),
        thinking_budget=request.thinking.budget_tokens if request.thinking else None,
        options=chosen,
    )
    model = await requests.find(engine, request.model)
    if "thinking" in model.capabilities:
        return chat
    # Clients of this API ask every model to think.
    return structs.replace(chat, think=None, thinking_budget=None)


def _options(request: wire.MessagesRequest) -> dict[str, Any]:
    wanted = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": request.stop_sequences or None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _think(request: wire.CountTokensRequest) -> Think:
    kind = request.thinking.type if request.thinking else ""
    if kind in ("enabled", "disabled"):
        return kind == "enabled"
    effort = request.output_config.effort if request.output_config else ""
    return _EFFORTS.get(effort.strip().lower())


def _tool_choice(choice: wire.ToolChoice | None) -> Any:
    if choice is None:
        return None
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    if choice.type not in _CHOICES:
        raise Malformed(
            f'invalid tool_choice type: "{choice.type}" (must be "auto", "any", "tool", or "none")'
        )
    return _CHOICES[choice.type]


def _format(request: wire.CountTokensRequest) -> Any:
    within = request.output_config.format if request.output_config else None
    wanted = within or request.output_format
    if wanted is None:
        return None
    if wanted.type != "json_schema" or wanted.schema_ is None:
        raise Malformed("output format must be of type json_schema and have a schema")
    return wanted.schema_


# -- before the count is known --------------------------------------------------------------------


def _estimate(request: wire.CountTokensRequest) -> int:
    """Tokens of the prompt by its length, as Ollama guesses."""
    tools = (
        _size(tool.name) + _size(tool.description) + _length(tool.input_schema)
        for tool in request.tools
    )
    said = (
        _size(param.role) + sum(map(_block_length, param.content)) for param in request.messages
    )
    total = _length(request.system) + sum(said) + sum(tools)
    return max(total // _CHARACTERS_A_TOKEN, 1)


def _block_length(block: wire.ContentBlock) -> int:
    whole_block = len(encode(block)) if block.type in ("tool_use", "tool_result") else 0
    return _size(block.text or "") + _size(block.thinking or "") + whole_block


def _length(value: Any) -> int:
    match value:
        case None:
            return 0
        case str():
            return _size(value)
        case list():
            texts = (block.get("text") for block in value if isinstance(block, dict))
            return sum(_size(text) for text in texts if isinstance(text, str))
    return len(encode(value))


def _size(text: str) -> int:
    return len(text.encode())
