"""POST /v1/chat/completions."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from msgspec import Struct, structs

from ollmlx.api import generate
from ollmlx.api.answers import Answer, Stream
from ollmlx.api.choices import beside, gathered
from ollmlx.api.engine import Engine
from ollmlx.api.openai import options as chosen
from ollmlx.api.openai.envelope import DONE, FINGERPRINT, called_tools, new_id, usage, whole
from ollmlx.api.openai.messages import native_messages
from ollmlx.errors import Malformed
from ollmlx.wire import native
from ollmlx.wire import openai as wire

Frames = AsyncGenerator[native.ChatResponse, None]
Head = tuple[str, str, int, str, str]
"""What every chunk of a stream begins with."""


async def chat(engine: Engine, request: wire.ChatCompletionRequest) -> Answer:
    if not request.messages:
        raise Malformed("[] is too short - 'messages'")
    _refuse(request)
    one, number = _native(request), chosen.count("n", request.n)
    answers = [
        generate.chats(engine, structs.replace(one, options=options))
        for options in chosen.seeds(one.options, number)
    ]
    if request.stream:
        include_usage = bool(request.stream_options and request.stream_options.include_usage)
        return Stream(_events(answers, request.model, include_usage), "sse")
    return whole(_completion(request.model, await gathered(answers)))


def _refuse(request: wire.ChatCompletionRequest) -> None:
    if request.functions or request.function_call:
        raise Malformed("functions and function_call are not supported: use tools and tool_choice")
    if any(modality != "text" for modality in request.modalities):
        raise Malformed(f"modalities {request.modalities} are not supported: answers are text")


def _native(request: wire.ChatCompletionRequest) -> native.ChatRequest:
    effort = request.reasoning.effort if request.reasoning else request.reasoning_effort or ""
    limit, wanted = request.max_completion_tokens, request.response_format
    schema = wanted.json_schema.schema_ if wanted and wanted.json_schema else None
    choice, tools = chosen.tool_choice(request.tool_choice, request.tools)
    return native.ChatRequest(
        model=request.model,
        messages=native_messages(request.messages),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls,
        format=chosen.format_of(wanted, schema) if wanted else None,
        think=chosen.think(effort, request.think),
        thinking_budget=request.thinking_budget,
        keep_alive=request.keep_alive,
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        debug_render_only=request.debug_render_only,
        options=chosen.options(
            request,
            {"temperature": 1.0, "top_p": 1.0},
            num_predict=request.max_tokens if limit is None else limit,
            seed=request.seed,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
            temperature=request.temperature,
            top_p=request.top_p,
            stop=chosen.stops(request.stop),
        ),
    )


def _completion(model: str, answers: list[native.ChatResponse]) -> wire.ChatCompletion:
    return wire.ChatCompletion(
        new_id("chatcmpl"),
        "chat.completion",
        int(time.time()),
        model,
        FINGERPRINT,
        [_choice(index, answer) for index, answer in enumerate(answers)],
        usage(answers, len(answers)),
        answers[0].debug_info,
    )


def _choice(index: int, answer: native.ChatResponse) -> wire.Choice:
    said = answer.message
    calls = called_tools(said.tool_calls)
    reason = _reason(answer.done_reason, bool(calls)) or None
    message = wire.Answered(said.role, said.content, said.thinking, calls)
    return wire.Choice(index, message, reason, _logprobs(answer))


def _reason(native_reason: str, called: bool) -> str:
    return "tool_calls" if called and native_reason == "stop" else native_reason


def _logprobs(answer: native.ChatResponse) -> wire.Logprobs | None:
    return wire.Logprobs(answer.logprobs) if answer.logprobs else None


# -- streamed -------------------------------------------------------------------------------------


async def _events(
    answers: list[Frames], model: str, include_usage: bool
) -> AsyncGenerator[Struct | str, None]:
    head = (new_id("chatcmpl"), "chat.completion.chunk", int(time.time()), model, FINGERPRINT)
    choices = [_Choice(head, index) for index in range(len(answers))]
    last: dict[int, native.ChatResponse] = {}
    async with aclosing(beside(answers)) as frames:
        async for index, frame in frames:
            for chunk in choices[index].chunks(frame):
                yield chunk
            if frame.done:
                last[index] = frame
    if len(last) < len(answers):
        return  # a model that only repeated itself was stopped: Ollama ends without a word
    if include_usage:
        costs = usage([last[index] for index in sorted(last)], len(answers))
        yield wire.ChatCompletionChunk(*head, [], costs)
    yield DONE


class _Choice:
    """One of the answers, on its way."""

    def __init__(self, head: Head, index: int) -> None:
        self._head, self._index = head, index
        self._role, self._called = "assistant", False

    def chunks(self, frame: native.ChatResponse) -> Iterator[wire.ChatCompletionChunk]:
        message, logprobs = frame.message, _logprobs(frame)
        said = message.content or message.tool_calls
        if message.thinking:
            yield self._chunk(wire.Delta("", None if said else "", message.thinking), logprobs)
            logprobs = None
        if said or logprobs or self._role:
            calls = called_tools(message.tool_calls)
            self._called = self._called or bool(calls)
            yield self._chunk(wire.Delta("", message.content, "", calls), logprobs)
        if frame.done:
            yield self._chunk(wire.Delta(), None, _reason(frame.done_reason, self._called))

    def _chunk(
        self, delta: wire.Delta, logprobs: wire.Logprobs | None, reason: str | None = None
    ) -> wire.ChatCompletionChunk:
        delta.role, self._role = self._role, ""
        choice = wire.ChunkChoice(self._index, delta, reason, logprobs)
        return wire.ChatCompletionChunk(*self._head, [choice])
