"""POST /v1/responses: a request in OpenAI's newer shape, answered whole or in events."""

import logging
from collections.abc import Sequence
from typing import Any

from ollmlx.api import generate
from ollmlx.api.answers import Answer, Stream, note
from ollmlx.api.engine import Engine
from ollmlx.api.openai import options as chosen
from ollmlx.api.openai.envelope import whole
from ollmlx.api.responses.events import Telling
from ollmlx.api.responses.input import native_messages
from ollmlx.api.responses.output import Output
from ollmlx.errors import Malformed
from ollmlx.wire import native
from ollmlx.wire import responses as wire
from ollmlx.wire.decode import from_value

LOGPROBS = "message.output_text.logprobs"
SEARCH = native.Tool(
    "function",
    function=native.ToolFunction(
        "web_search",
        "Search the web for current information.",
        native.ToolFunctionParameters(
            "object",
            required=["query"],
            properties={
                "query": native.ToolProperty(type="string", description="The search query.")
            },
        ),
    ),
)
"""What a model is told of the built-in search."""
_log = logging.getLogger(__name__)


async def responses(engine: Engine, request: wire.ResponsesRequest) -> Answer:
    before = engine.responses.items(request.previous_response_id)
    _tell_what_is_lost(request, before)
    frames = generate.chats(engine, _native(request, before))
    output = Output(request, before, engine.responses)
    if request.stream:
        telling = Telling(output)
        return Stream(telling.events(frames), "events", telling.failure)
    answer = await generate.fold(frames)
    assert answer
    return whole(output.whole(answer))


def _tell_what_is_lost(request: wire.ResponsesRequest, before: list[Any]) -> None:
    """OpenAI refuses what it cannot go on from; Ollama answers the input alone, and so it is here.

    The answer's `previous_response_id` is null then.
    """
    lost = ["previous_response_id"] if request.previous_response_id and not before else []
    lost += ["conversation"] if request.conversation else []
    if lost:
        _log.warning("a response goes on from nothing: there is no such %s", " or ".join(lost))
        note("Ollmlx-Ignored", ", ".join(lost))


def _native(request: wire.ResponsesRequest, before: list[Any]) -> native.ChatRequest:
    effort = request.reasoning.effort if request.reasoning else ""
    choice, tools = chosen.tool_choice(request.tool_choice, _tools(request.tools))
    return native.ChatRequest(
        model=request.model,
        messages=native_messages(request, before),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls,
        format=_format(request.text),
        think=chosen.think(effort, request.think),
        thinking_budget=request.thinking_budget,
        keep_alive=request.keep_alive,
        # Not said is "disabled" to OpenAI; Ollama makes room then, and so it does here.
        truncate=False if request.truncation == "disabled" else None,
        logprobs=LOGPROBS in request.include or request.top_logprobs > 0,
        top_logprobs=request.top_logprobs,
        options=chosen.options(
            request,
            {"temperature": 1.0},
            num_predict=request.max_output_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
        ),
    )


def _format(text: wire.ResponsesText | None) -> Any:
    wanted = text.format if text else None
    return chosen.format_of(wanted, wanted.schema_) if wanted else None


def _tools(tools: Sequence[wire.ResponsesTool]) -> list[native.Tool]:
    searches = any(tool.type == SEARCH.function.name for tool in tools)
    found: list[native.Tool] = []
    for tool in tools:
        if tool.type == SEARCH.function.name:
            found.append(SEARCH)
        else:
            # The built-in search has its name to itself.
            found += [
                one
                for one in _expanded(tool)
                if not (searches and one.function.name == SEARCH.function.name)
            ]
    return found


def _expanded(tool: wire.ResponsesTool, prefixes: tuple[str, ...] = ()) -> list[native.Tool]:
    """A tool, or the members of a namespace with its name before theirs."""
    if tool.type == "namespace":
        inner = (f"{tool.name}.", *prefixes) if tool.name else prefixes
        return [one for member in tool.tools or () for one in _expanded(member, inner)]
    name = tool.name
    for prefix in prefixes:
        name = name if name.startswith(prefix) else prefix + name
    try:
        parameters = from_value(tool.parameters, native.ToolFunctionParameters)
    except Malformed as error:
        raise Malformed(f"failed to unmarshal tool parameters: {error}") from error
    function = native.ToolFunction(name, tool.description or "", parameters)
    return [native.Tool(tool.type, function=function)]
