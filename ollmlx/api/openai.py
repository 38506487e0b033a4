"""The OpenAI endpoints: envelopes around the same generators, by typed values and never by
re-parsing bytes.
"""

import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from ollmlx.api import generate
from ollmlx.api.answers import JSON, PLAIN_JSON, Answer, Stream, Whole
from ollmlx.api.engine import Engine
from ollmlx.api.openai_messages import native_messages
from ollmlx.errors import Malformed, OllmlxError
from ollmlx.wire import native
from ollmlx.wire import openai as wire

FINGERPRINT = "fp_ollama"
DONE = "[DONE]"
_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_EFFORTS: dict[str, bool | str | None] = {
    "": None,
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


def error_envelope(error: OllmlxError) -> wire.ErrorEnvelope:
    kind = _TYPES.get(error.status, "api_error")
    return wire.ErrorEnvelope(wire.ErrorBody(str(error), kind))


def whole(body: Struct) -> Whole:
    return Whole(body, PLAIN_JSON, "\n")


# -- chat -----------------------------------------------------------------------------------------


async def chat_completions(engine: Engine, request: wire.ChatCompletionRequest) -> Answer:
    if not request.messages:
        raise Malformed("[] is too short - 'messages'")
    frames = generate.chats(engine, _chat_request(request))
    if request.stream:
        usage = bool(request.stream_options and request.stream_options.include_usage)
        return Stream(_chat_events(frames, request.model, usage), "sse")
    answer = await generate.fold(frames)
    assert isinstance(answer, native.ChatResponse)
    return Whole(answer, JSON) if answer.debug_info else whole(_completion(answer))


def _chat_request(request: wire.ChatCompletionRequest) -> native.ChatRequest:
    effort = request.reasoning.effort if request.reasoning else request.reasoning_effort or ""
    if effort not in _EFFORTS:
        raise Malformed(
            f'invalid reasoning value: "{effort}" (must be "minimal", "low", "medium", "high",'
            ' "xhigh", "ultra", "max", or "none")'
        )
    limit = request.max_completion_tokens
    return native.ChatRequest(
        model=request.model,
        messages=native_messages(request.messages),
        tools=request.tools,
        format=_format(request.response_format),
        think=_EFFORTS[effort],
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        debug_render_only=request.debug_render_only,
        options=_given(
            num_predict=request.max_tokens if limit is None else limit,
            seed=request.seed,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
            temperature=1.0 if request.temperature is None else request.temperature,
            top_p=1.0 if request.top_p is None else request.top_p,
            stop=_stops(request.stop),
        ),
    )


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _stops(stop: Any) -> list[str] | None:
    if isinstance(stop, str):
        return [stop]
    return [s for s in stop if isinstance(s, str)] if isinstance(stop, list) else None


def _format(wanted: wire.ResponseFormat | None) -> Any:
    kind = wanted.type.strip().lower() if wanted else ""
    if kind == "json_object":
        return "json"
    schema = wanted.json_schema if wanted and kind == "json_schema" else None
    return schema.schema_ if schema else None


def _completion(answer: native.ChatResponse) -> wire.ChatCompletion:
    calls = _calls(answer.message.tool_calls)
    message = wire.Answered("assistant", answer.message.content, answer.message.thinking, calls)
    reason = "tool_calls" if calls and answer.done_reason == "stop" else answer.done_reason or None
    choice = wire.Choice(0, message, reason, _logprobs(answer))
    return wire.ChatCompletion(
        _id("chatcmpl"),
        "chat.completion",
        int(time.time()),
        answer.model,
        FINGERPRINT,
        [choice],
        _usage(answer),
    )


async def _chat_events(
    frames: AsyncGenerator[native.ChatResponse, None], model: str, include_usage: bool
) -> AsyncGenerator[Struct | str, None]:
    head = (_id("chatcmpl"), "chat.completion.chunk", int(time.time()), model, FINGERPRINT)
    role, called = "assistant", False

    def chunk(delta: wire.Delta, logprobs: wire.Logprobs | None = None) -> Struct:
        return wire.ChatCompletionChunk(*head, [wire.ChunkChoice(0, delta, None, logprobs)])

    async with aclosing(frames):
        async for frame in frames:
            message, logprobs = frame.message, _logprobs(frame)
            said = message.content or message.tool_calls
            if message.thinking:
                split = None if said else ""
                yield chunk(wire.Delta(role, split, message.thinking), logprobs)
                role, logprobs = "", None
            if said or logprobs or (role and frame.done):
                calls = _calls(message.tool_calls)
                called = called or bool(calls)
                yield chunk(wire.Delta(role, message.content, "", calls), logprobs)
                role = ""
            if frame.done:
                reason = (
                    "tool_calls" if called and frame.done_reason == "stop" else frame.done_reason
                )
                last = wire.ChunkChoice(0, wire.Delta(), reason)
                yield wire.ChatCompletionChunk(*head, [last])
                if include_usage:
                    yield wire.ChatCompletionChunk(*head, [], _usage(frame))
                yield DONE


def _calls(calls: list[native.ReplyToolCall]) -> list[wire.CalledTool]:
    return [
        wire.CalledTool(
            call.id,
            call.function.index,
            "function",
            wire.Function(
                call.function.name,
                json.dumps(call.function.arguments, ensure_ascii=False, separators=(",", ":")),
            ),
        )
        for call in calls
    ]


# -- completions ----------------------------------------------------------------------------------


async def completions(engine: Engine, request: wire.CompletionRequest) -> Answer:
    frames = generate.generations(engine, _generate_request(request))
    if request.stream:
        usage = bool(request.stream_options and request.stream_options.include_usage)
        return Stream(_text_events(frames, request.model, usage), "sse")
    answer = await generate.fold(frames)
    assert isinstance(answer, native.GenerateResponse)
    if answer.debug_info:
        return Whole(answer, JSON)
    choice = wire.TextChoice(answer.response, 0, answer.done_reason or None, _logprobs(answer))
    head = (_id("cmpl"), "text_completion", int(time.time()), answer.model, FINGERPRINT)
    return whole(wire.Completion(*head, [choice], _usage(answer)))


def _generate_request(request: wire.CompletionRequest) -> native.GenerateRequest:
    stop = request.stop if isinstance(request.stop, list) else []
    if wrong := [s for s in stop if not isinstance(s, str)]:
        kind = "float64" if isinstance(wrong[0], (int, float)) else type(wrong[0]).__name__
        raise Malformed(f"invalid type for 'stop' field: {kind}")
    return native.GenerateRequest(
        model=request.model,
        prompt=request.prompt,
        suffix=request.suffix,
        logprobs=bool(request.logprobs),
        top_logprobs=request.logprobs or 0,
        debug_render_only=request.debug_render_only,
        options=_given(
            num_predict=request.max_tokens,
            seed=request.seed,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
            temperature=1.0 if request.temperature is None else request.temperature,
            top_p=request.top_p or 1.0,
            stop=_stops(request.stop),
        ),
    )


async def _text_events(
    frames: AsyncGenerator[native.GenerateResponse, None], model: str, include_usage: bool
) -> AsyncGenerator[Struct | str, None]:
    name, zero = _id("cmpl"), wire.Usage(0, 0, 0) if include_usage else None

    def chunk(choices: list[wire.TextChoice], usage: wire.Usage | None) -> Struct:
        created = int(time.time())
        return wire.CompletionChunk(
            name, "text_completion", created, choices, model, FINGERPRINT, usage
        )

    async with aclosing(frames):
        async for frame in frames:
            reason = frame.done_reason or None
            yield chunk([wire.TextChoice(frame.response, 0, reason, _logprobs(frame))], zero)
            if frame.done:
                if include_usage:
                    yield chunk([], _usage(frame))
                yield DONE


# -- both -----------------------------------------------------------------------------------------


def _id(prefix: str) -> str:
    return f"{prefix}-{random.randrange(999)}"


def _usage(answer: native.ChatResponse | native.GenerateResponse) -> wire.Usage:
    read, written = answer.prompt_eval_count, answer.eval_count
    return wire.Usage(read, written, read + written)


def _logprobs(answer: native.ChatResponse | native.GenerateResponse) -> wire.Logprobs | None:
    return wire.Logprobs(answer.logprobs) if answer.logprobs else None
