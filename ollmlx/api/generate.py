"""POST /api/generate and /api/chat."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

from msgspec import structs, to_builtins

from ollmlx.api import images, options, requests, writing
from ollmlx.api.answers import Answer, Stream, Whole, note, streaming
from ollmlx.api.demands import answer_grammar
from ollmlx.api.engine import Engine
from ollmlx.api.requests import Think
from ollmlx.api.writing import Chunk, Writing
from ollmlx.engine.jobs import Medium
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest, NotFound
from ollmlx.prompt.callgrammar import Demand
from ollmlx.prompt.conversation import shown
from ollmlx.prompt.named import named, resolved
from ollmlx.prompt.parsed import parsed
from ollmlx.prompt.render import Conversation, GoTemplate, Template, choose
from ollmlx.prompt.reply import ReplyParser
from ollmlx.prompt.split import answer_of
from ollmlx.store.model import Model
from ollmlx.wire.encode import now
from ollmlx.wire.native import (
    ChatRequest,
    ChatResponse,
    DebugInfo,
    GenerateRequest,
    GenerateResponse,
    Message,
    Reply,
)

_REPLY_ONLY = ("load", "unload")
T = TypeVar("T", GenerateResponse, ChatResponse)
R = TypeVar("R")


async def generate(engine: Engine, request: GenerateRequest) -> Answer:
    return await _answer(generations(engine, request), request.stream)


async def chat(engine: Engine, request: ChatRequest) -> Answer:
    return await _answer(chats(engine, request), request.stream)


async def _answer(frames: AsyncGenerator[T, None], stream: bool | None) -> Answer:
    """A stream unless the client wants one document, or all there is to say is that a model was
    (un)loaded.
    """
    first = await anext(frames, None)
    if first is not None and (first.done_reason in _REPLY_ONLY or first.debug_info):
        await frames.aclose()
        return Whole(first)
    rest = _chain(first, frames)
    return Whole(await fold(rest)) if stream is False else Stream(rest)


async def _chain(first: T | None, rest: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    async with aclosing(rest):
        if first is not None:
            yield _told(first)
        async for frame in rest:
            yield _told(frame)


def _told(frame: T) -> T:
    """Without the counts that Ollama keeps to itself."""
    return structs.replace(frame, cached_tokens=0, thinking_tokens=0) if frame.done else frame


async def fold(frames: AsyncGenerator[T, None]) -> T | None:
    """All frames as one; None where there are none."""
    async with aclosing(frames):
        parts = [frame async for frame in frames]
    return joined(parts) if parts else None


def joined(parts: Sequence[T]) -> T:
    """Frames as one: texts, calls and logprobs joined, the rest from the last."""
    whole, logprobs = parts[-1], [entry for part in parts for entry in part.logprobs]
    if isinstance(whole, GenerateResponse):
        texts: Sequence[Any] = parts
        return structs.replace(
            whole,
            response="".join(text.response for text in texts),
            thinking="".join(text.thinking for text in texts),
            logprobs=logprobs,
        )
    replies: list[Reply] = [part.message for part in parts]
    message = Reply(
        whole.message.role,
        "".join(reply.content for reply in replies),
        "".join(reply.thinking for reply in replies),
        [call for reply in replies for call in reply.tool_calls],
    )
    return structs.replace(whole, message=message, logprobs=logprobs)


# -- generate -------------------------------------------------------------------------------------


async def generations(
    engine: Engine, request: GenerateRequest
) -> AsyncGenerator[GenerateResponse, None]:
    """The frames of an answer, in the order of checks of Ollama."""
    started = time.perf_counter_ns()
    requests.check_logprobs(request.top_logprobs)
    if not request.model.strip():
        raise NotFound(f"model '{request.model}' not found")
    model = await requests.find(engine, request.model)
    if not request.prompt and request.keep_alive == 0:
        engine.pool.unload(model.path)
        yield _generation(request, done_reason="unload")
        return
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context")
    think = requests.check_think(model, request.model, request.think)
    requests.check_can(model, request.model, "generate", *(["insert"] if request.suffix else []))
    merged = options.merge(model, request.options)
    async with requests.lend(engine, model, merged, request.keep_alive) as process:
        loaded = time.perf_counter_ns()
        if not request.prompt:
            yield _generation(request, done_reason="load")
            return
        looked = await images.look(process, model, request.images, request.debug_render_only)
        template = await _beside(engine, _template, engine, model, process, request.template)
        prompt = await _generation_prompt(engine, process, request, model, template, think)
        if request.debug_render_only:
            yield _generation(request, debug_info=DebugInfo(prompt, len(request.images)))
            return
        media = [looked[image] for image in request.images]
        parser = ReplyParser.plain() if request.raw else ReplyParser(template, (), think, prompt)
        with streaming(request.stream):
            tokens = await writing.read(process, prompt, request.raw, media)
            asked = (request.format, Demand(), template, ())
            grammar = await asyncio.to_thread(answer_grammar, *asked)
            what = _writing(request, tokens, media, merged, grammar)
            async with aclosing(writing.write(process, what, parser)) as chunks:
                async for chunk in chunks:
                    yield _generated(request, chunk, started, loaded)


async def _generation_prompt(
    engine: Engine,
    process: ModelProcess,
    request: GenerateRequest,
    model: Model,
    template: Template,
    think: Think,
) -> str:
    if request.raw:
        return request.prompt
    if request.suffix:
        hole = Conversation(prompt=request.prompt, suffix=request.suffix, think=think)
        return await _beside(engine, template.render, hole)
    system = request.system or model.system
    messages = [
        *([Message("system", system)] if system else []),
        *([] if request.context else model.messages),
        Message("user", request.prompt, images=request.images),
    ]
    before = await process.detokenize(request.context) if request.context else ""
    conversation = Conversation(messages=images.tagged(messages), think=think)
    return before + await _beside(engine, template.render, conversation)


def _generation(request: GenerateRequest, **fields: Any) -> GenerateResponse:
    done = "done_reason" in fields
    return GenerateResponse(model=request.model, created_at=now(), response="", done=done, **fields)


def _generated(
    request: GenerateRequest, chunk: Chunk, started: int, loaded: int
) -> GenerateResponse:
    if not chunk.done_reason:
        return GenerateResponse(
            model=request.model,
            created_at=now(),
            response=chunk.parts.content,
            thinking=chunk.parts.thinking,
            done=False,
            logprobs=chunk.logprobs,
        )
    costs = structs.asdict(writing.metrics(chunk, started, loaded))
    context = [] if request.raw else chunk.context
    return _generation(request, done_reason=chunk.done_reason, context=context, **costs)


# -- chat -----------------------------------------------------------------------------------------


async def chats(engine: Engine, request: ChatRequest) -> AsyncGenerator[ChatResponse, None]:
    """The frames of an answer, in the order of checks of Ollama."""
    started = time.perf_counter_ns()
    requests.check_logprobs(request.top_logprobs)
    if not request.model.strip():
        raise BadRequest("model is required")
    model = await requests.find(engine, request.model)
    if not request.messages and request.keep_alive == 0:
        engine.pool.unload(model.path)
        yield _chat(request, done_reason="unload")
        return
    think = requests.check_think(model, request.model, request.think)
    requests.check_can(model, request.model, "chat", *(["tools"] if request.tools else []))
    merged = options.merge(model, request.options)
    tools = shown(request.tools)
    demand = Demand.of(request.tool_choice, request.parallel_tool_calls, tools)
    async with requests.lend(engine, model, merged, request.keep_alive) as process:
        loaded = time.perf_counter_ns()
        if not request.messages:
            yield _chat(request, done_reason="load")
            return
        pictures = images.shown(request.messages)
        looked = await images.look(process, model, pictures, request.debug_render_only)
        template = await _beside(engine, _template, engine, model, process)
        prompt = await _chat_prompt(engine, process, request, model, template, think, looked)
        if request.debug_render_only:
            yield _chat(request, "", debug_info=DebugInfo(prompt.text, len(prompt.media)))
            return
        if prompt.dropped:
            note("Ollmlx-Dropped-Messages", str(prompt.dropped))
        called = () if demand.choice == "none" else tools
        parser, calls = ReplyParser(template, called, think, prompt.text), 0
        with streaming(request.stream):
            asked = (request.format, demand, template, to_builtins(request.tools))
            grammar = await asyncio.to_thread(answer_grammar, *asked)
            what = _writing(request, prompt.tokens, prompt.media, merged, grammar)
            async with aclosing(writing.write(process, what, parser)) as chunks:
                async for chunk in chunks:
                    yield _chatted(request, chunk, started, loaded, calls)
                    calls += len(chunk.parts.tool_calls)


class _Prompt(NamedTuple):
    text: str
    tokens: list[int]
    media: list[Medium]
    """What the images in it are."""
    dropped: int
    """Messages that were left out."""


async def _chat_prompt(
    engine: Engine,
    process: ModelProcess,
    request: ChatRequest,
    model: Model,
    template: Template,
    think: Think,
    looked: images.Looked,
) -> _Prompt:
    """The conversation, its oldest messages left out where it would not fit."""
    messages = _without_thoughts(model, [*model.messages, *_lowered(request.messages)])
    if model.system and request.messages[0].role.lower() != "system":
        messages.insert(0, Message("system", model.system))
    tools = shown(request.tools)

    async def render(start: int) -> _Prompt:
        systems = [m for m in messages[:start] if m.role == "system"]
        kept = [*systems, *messages[start:]]
        media = [looked[image] for image in images.shown(kept)]
        conversation = Conversation(messages=images.tagged(kept), tools=tools, think=think)
        text = await _beside(engine, template.render, conversation)
        tokens = await writing.read(process, text, media=media)
        return _Prompt(text, tokens, media, start - len(systems))

    first, last = 0, len(messages) - 1
    prompt = await render(0)
    if request.truncate is False or len(prompt.tokens) <= process.info.num_ctx:
        return prompt
    while first < last:  # the fewest messages to leave out; the last one always stays
        middle = (first + last) // 2
        fits = len((await render(middle)).tokens) <= process.info.num_ctx
        first, last = (first, middle) if fits else (middle + 1, last)
    return await render(first)


def _without_thoughts(model: Model, messages: Sequence[Message]) -> list[Message]:
    """Two families are not shown again what they thought before the last question."""
    name = model.name.rpartition("/")[2].partition(":")[0]
    if model.details.family != "qwen3" and name != "deepseek-r1":
        return list(messages)
    asked = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
    return [
        structs.replace(m, content=answer_of(m.content)) if m.role == "assistant" else m
        for m in messages[:asked]
    ] + list(messages[asked:])


def _lowered(messages: Sequence[Message]) -> list[Message]:
    return [structs.replace(message, role=message.role.lower()) for message in messages]


def _chat(request: ChatRequest, role: str = "assistant", **fields: Any) -> ChatResponse:
    done = "done_reason" in fields
    return ChatResponse(request.model, now(), Reply(role, ""), done, **fields)


def _chatted(
    request: ChatRequest, chunk: Chunk, started: int, loaded: int, calls: int
) -> ChatResponse:
    if chunk.done_reason:
        costs = structs.asdict(writing.metrics(chunk, started, loaded))
        return _chat(request, done_reason=chunk.done_reason, **costs)
    parts = chunk.parts
    message = Reply("assistant", parts.content, parts.thinking, parts.reply_calls(calls))
    return ChatResponse(request.model, now(), message, False, logprobs=chunk.logprobs)


# -- both -----------------------------------------------------------------------------------------


async def _beside(engine: Engine, make: Callable[..., R], *arguments: Any) -> R:
    """What a template makes, in a thread: it ends by its own bounds, even when nobody waits."""
    return await asyncio.get_running_loop().run_in_executor(engine.prompts, make, *arguments)


def _template(engine: Engine, model: Model, process: ModelProcess, own: str = "") -> Template:
    if own:
        return GoTemplate(own)
    if model.renderer:
        size = model.details.parameter_size
        return parsed(named(resolved(model.renderer, model.name, size)), model.parser)
    info, forced = process.info, engine.settings.go_template
    if model.parser and model.template:
        forced = True  # a parser goes with the template beside it
    template = choose(model.template, model.chat_template, info.bos, info.eos, forced)
    return parsed(template, model.parser)


def _writing(
    request: GenerateRequest | ChatRequest,
    tokens: list[int],
    media: Sequence[Medium],
    merged: dict[str, Any],
    grammar: tuple[str, bool],
) -> Writing:
    return Writing(
        prompt=tokens,
        options=merged,
        grammar=grammar[0],
        plain=grammar[1],
        thinking_budget=request.thinking_budget,
        logprobs=request.top_logprobs if request.logprobs else None,
        truncate=request.truncate is not False,
        shift=request.shift is not False,
        media=media,
    )
