"""POST /v1/responses: a request in OpenAI's newer shape, answered whole or in events."""

import logging
from typing import Any

from ollmlx.api import generate
from ollmlx.api.answers import Answer, Stream, note
from ollmlx.api.engine import Engine
from ollmlx.api.openai import options as chosen
from ollmlx.api.openai.envelope import whole
from ollmlx.api.responses.events import Telling
from ollmlx.api.responses.input import native_messages
from ollmlx.api.responses.output import Output
from ollmlx.api.responses.tools import native_tools
from ollmlx.wire import native
from ollmlx.wire import responses as wire

LOGPROBS = "message.output_text.logprobs"
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
    choice, tools = chosen.tool_choice(request.tool_choice, native_tools(request.tools))
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
