"""POST /v1/completions."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import accumulate
from typing import Any

from msgspec import Struct, structs

from ollmlx.api import generate
from ollmlx.api.answers import Answer, Stream
from ollmlx.api.choices import beside, gathered
from ollmlx.api.engine import Engine
from ollmlx.api.openai import options as chosen
from ollmlx.api.openai.envelope import DONE, FINGERPRINT, new_id, usage, whole
from ollmlx.api.tokens import are_tokens, text_of
from ollmlx.errors import Malformed
from ollmlx.wire import native
from ollmlx.wire import openai as wire
from ollmlx.wire.decode import mismatch
from ollmlx.wire.values import go_type

Frames = AsyncGenerator[native.GenerateResponse, None]
_OBJECT = "text_completion"


async def completions(engine: Engine, request: wire.CompletionRequest) -> Answer:
    """Of each prompt `n` answers, numbered in the order of the prompts."""
    prompts, number = _prompts(request.prompt), chosen.count("n", request.n)
    _refuse(request, number)
    one = _native(request)
    texts = [
        prompt if isinstance(prompt, str) else await text_of(engine, request.model, prompt)
        for prompt in prompts
    ]
    answers = [
        generate.generations(engine, structs.replace(one, prompt=text, options=options))
        for text in texts
        for options in chosen.seeds(one.options, number)
    ]
    choices = [
        _Choice(index, texts[index // number] if request.echo else "")
        for index in range(len(answers))
    ]
    if request.stream:
        include_usage = bool(request.stream_options and request.stream_options.include_usage)
        return Stream(_events(answers, choices, request.model, number, include_usage), "sse")
    written = await gathered(answers)
    return whole(
        wire.Completion(
            new_id("cmpl"),
            _OBJECT,
            int(time.time()),
            request.model,
            FINGERPRINT,
            [choice.piece(answer) for choice, answer in zip(choices, written, strict=True)],
            usage(written, number),
        )
    )


def _prompts(prompt: Any) -> list[str | list[int]]:
    match prompt:
        case None:
            return [""]
        case str():
            return [prompt]
        case [*texts] if texts and all(isinstance(text, str) for text in texts):
            return texts
        case [*ids] if are_tokens(ids):
            return [ids]
        case [*lists] if lists and all(isinstance(ids, list) and are_tokens(ids) for ids in lists):
            return lists
    raise mismatch(prompt, str, "CompletionRequest.prompt")


def _refuse(request: wire.CompletionRequest, number: int) -> None:
    stop = request.stop if isinstance(request.stop, list) else []
    if wrong := [text for text in stop if not isinstance(text, str)]:
        raise Malformed(f"invalid type for 'stop' field: {go_type(wrong[0])}")
    if request.best_of not in (None, number):
        raise Malformed("best_of is not supported: ask for n answers and choose among them")
    if request.echo and request.logprobs:
        raise Malformed("echo and logprobs exclude each other: a prompt's tokens have none")


def _native(request: wire.CompletionRequest) -> native.GenerateRequest:
    return native.GenerateRequest(
        model=request.model,
        suffix=request.suffix,
        think=request.think,
        thinking_budget=request.thinking_budget,
        keep_alive=request.keep_alive,
        logprobs=bool(request.logprobs and request.logprobs > 0),
        top_logprobs=max(request.logprobs or 0, 0),
        debug_render_only=request.debug_render_only,
        options=chosen.options(
            request,
            {
                "temperature": 1.0,
                "top_p": 1.0,
                "frequency_penalty": 0.0,
                "presence_penalty": 0.0,
            },
            num_predict=request.max_tokens,
            seed=request.seed,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
            temperature=request.temperature,
            top_p=request.top_p or None,
            stop=chosen.stops(request.stop),
        ),
    )


class _Choice:
    """One of the texts, on its way."""

    def __init__(self, index: int, echo: str) -> None:
        self._index, self._echo, self._offset = index, echo, len(echo)

    def piece(self, frame: native.GenerateResponse) -> wire.TextChoice:
        text, self._echo = self._echo + frame.response, ""
        logprobs = self._logprobs(frame.logprobs) if frame.logprobs else None
        return wire.TextChoice(text, self._index, frame.done_reason or None, logprobs)

    def _logprobs(self, entries: list[native.Logprob]) -> wire.TextLogprobs:
        *offsets, self._offset = accumulate((len(e.token) for e in entries), initial=self._offset)
        return wire.TextLogprobs(
            offsets,
            [entry.logprob for entry in entries],
            [entry.token for entry in entries],
            [{top.token: top.logprob for top in entry.top_logprobs} for entry in entries],
        )


async def _events(
    answers: list[Frames], choices: list[_Choice], model: str, number: int, include_usage: bool
) -> AsyncGenerator[Struct | str, None]:
    name, zero = new_id("cmpl"), wire.Usage(0, 0, 0) if include_usage else None
    last: dict[int, native.GenerateResponse] = {}

    def chunk(pieces: list[wire.TextChoice], costs: wire.Usage | None) -> Struct:
        created = int(time.time())
        return wire.CompletionChunk(name, _OBJECT, created, pieces, model, FINGERPRINT, costs)

    async with aclosing(beside(answers)) as frames:
        async for index, frame in frames:
            yield chunk([choices[index].piece(frame)], zero)
            if frame.done:
                last[index] = frame
    if len(last) < len(answers):
        return
    if include_usage:
        yield chunk([], usage([last[index] for index in sorted(last)], number))
    yield DONE
