"""A prompt's tokens in, the answer in chunks out: what /api/generate and /api/chat share."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from ollmlx.api import images
from ollmlx.api import options as opts
from ollmlx.engine import formats
from ollmlx.engine import media as runs
from ollmlx.engine.jobs import Delta, Generate, Medium, TokenLogprob, Usage
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest
from ollmlx.prompt.reply import Parts, ReplyParser
from ollmlx.wire.encode import number
from ollmlx.wire.native import Logprob, Metrics, TopLogprob

TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the"
    " prompt, adjust the context length in settings, or use a model with a longer context length"
)
# Ollama ends a generation that says the same this often in a row.
MOST_REPEATS = 30
UNUSED = Usage(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Writing:
    """What to write and how."""

    prompt: list[int]
    """Its tokens, however many."""
    options: dict[str, Any]
    format: Any = None
    logprobs: int | None = None
    truncate: bool = True
    shift: bool = True
    media: Sequence[Medium] = ()
    """What the images of the prompt are."""


@dataclass
class Chunk:
    """A piece of an answer; the last one has `done_reason`."""

    parts: Parts = field(default_factory=Parts)
    logprobs: list[Logprob] = field(default_factory=list)
    done_reason: str = ""
    context: list[int] = field(default_factory=list)
    usage: Usage = UNUSED
    thinking_tokens: int = 0
    """How many of the answer's tokens were thoughts."""

    @property
    def empty(self) -> bool:
        return not (self.parts or self.logprobs)


async def write(
    process: ModelProcess, writing: Writing, parser: ReplyParser
) -> AsyncGenerator[Chunk, None]:
    """Chunks with something in them, then one with `done_reason`.

    The last one is missing when the model only repeats itself.  Raises what makes the request
    impossible before the first chunk.
    """
    constraint = await asyncio.to_thread(formats.from_format, writing.format)
    tokens = fit_prompt(process, writing)
    if constraint and parser.thinking:
        # The grammar holds for the answer and not for the thoughts: those are written freely,
        # and then they are prompt.
        thoughts = ""
        async with aclosing(_think(process, writing, tokens, parser)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    thoughts = piece
                else:
                    yield piece
                    if piece.done_reason:
                        return
        tokens = tokens + (await process.tokenize([thoughts], special=False))[0]
        parser = ReplyParser.plain()
    async with aclosing(_run(process, _job(process, writing, tokens, constraint), parser)) as run:
        async for chunk, _ in run:
            yield chunk


async def _think(
    process: ModelProcess, writing: Writing, tokens: list[int], parser: ReplyParser
) -> AsyncGenerator[Chunk | str, None]:
    """The chunks of the thoughts, then their whole text as the model wrote it, closing tag
    included.
    """
    text = ""
    async with aclosing(_run(process, _job(process, writing, tokens, ""), parser)) as run:
        async for chunk, raw in run:
            text += raw
            if chunk.parts.content:
                break
            yield chunk
    end = text.find(parser.closing) + len(parser.closing)
    yield text[: len(text) - len(text[end:].lstrip())]


async def _run(
    process: ModelProcess, job: Generate, parser: ReplyParser
) -> AsyncGenerator[tuple[Chunk, str], None]:
    """Chunks with something in them, each with the raw text that it came from."""
    if job.max_tokens == 0:
        yield Chunk(done_reason="length", context=runs.text(job.prompt), usage=_unwritten(job)), ""
        return
    context, repeats, before, hidden = runs.text(job.prompt), 0, "", ""
    thought = 0
    async with aclosing(process.generate(job)) as deltas:
        async for delta in deltas:
            context += delta.tokens
            chunk = Chunk(parser.push(delta.text), _logprobs(delta, job.logprobs))
            if delta.finish:
                chunk.parts += parser.finish()
            if chunk.parts.thinking or parser.thinking:
                thought += len(delta.tokens)
            hidden += delta.text
            if not chunk.empty:
                yield chunk, hidden
                hidden = ""
            if delta.finish and delta.usage:
                yield Chunk(Parts(), [], delta.finish, context, delta.usage, thought), hidden
            same = bool(delta.tokens) and delta.text.strip() == before
            repeats, before = repeats + 1 if same else 0, delta.text.strip()
            if repeats > MOST_REPEATS:
                return


def _job(process: ModelProcess, writing: Writing, tokens: list[int], constraint: str) -> Generate:
    options, window = writing.options, process.info.num_ctx
    shift = writing.shift and process.info.can_shift and not writing.media
    return Generate(
        id=0,
        prompt=tokens,
        max_tokens=opts.max_tokens(options, window, shift),
        sampling=opts.sampling(options),
        stop=[text for text in options.get("stop", []) if text],
        grammar=constraint,
        logprobs=writing.logprobs,
        num_keep=options.get("num_keep", 4),
        shift=shift,
        media=list(writing.media),
    )


def _unwritten(job: Generate) -> Usage:
    return Usage(len(job.prompt), 0, 0, 0, 0)


# -- the prompt -----------------------------------------------------------------------------------


async def read(
    process: ModelProcess, prompt: str, raw: bool = False, media: Sequence[Medium] = ()
) -> list[int]:
    """The tokens of a prompt.  A `raw` one is the client's own text, not a template's."""
    info = process.info
    if info.adds_bos and info.bos and not raw:
        # A template that writes the begin token itself must not get a second one.
        prompt = prompt.removeprefix(info.bos)
    return await images.read(process, prompt, media)


def fit_prompt(process: ModelProcess, writing: Writing) -> list[int]:
    """The prompt's tokens, the middle cut out if they do not fit and may be cut.

    Raises `BadRequest` with Ollama's text when they may not.
    """
    tokens, window = writing.prompt, process.info.num_ctx
    if not tokens:
        raise BadRequest("empty prompt")
    if len(tokens) < window:
        return tokens
    if not writing.truncate or not writing.shift or writing.media:
        raise BadRequest(TOO_LONG)
    keep = writing.options.get("num_keep", 4)
    keep = len(tokens) if keep < 0 else keep + process.info.adds_bos
    keep = min(keep, window - 2)
    size = window - max((window - keep) // 2, 1)
    return tokens[:keep] + tokens[len(tokens) - (size - keep) :]


# -- the answer's numbers -------------------------------------------------------------------------


def metrics(last: Chunk, started: int, loaded: int) -> Metrics:
    """`started` and `loaded` are `time.perf_counter_ns` of the request and of its model's load."""
    usage = last.usage
    return Metrics(
        total_duration=time.perf_counter_ns() - started,
        load_duration=loaded - started,
        prompt_eval_count=usage.prompt_tokens,
        prompt_eval_duration=usage.prompt_ns,
        eval_count=usage.tokens,
        eval_duration=usage.eval_ns,
        cached_tokens=usage.cached_tokens,
        thinking_tokens=last.thinking_tokens,
    )


def _logprobs(delta: Delta, top: int | None) -> list[Logprob]:
    return [] if top is None else [_logprob(entry, top) for entry in delta.logprobs]


def _logprob(entry: TokenLogprob, top: int) -> Logprob:
    return Logprob(
        entry.token.decode("utf-8", "replace"),
        number(entry.logprob),
        list(entry.token),
        [
            TopLogprob(token.decode("utf-8", "replace"), number(logprob), list(token))
            for token, logprob in entry.top[:top]
        ],
    )
