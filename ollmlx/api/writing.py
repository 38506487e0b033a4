"""A prompt's tokens in, the answer in chunks out: what /api/generate and /api/chat share."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from ollmlx.api import images
from ollmlx.api import options as opts
from ollmlx.api.answers import note
from ollmlx.engine import media as runs
from ollmlx.engine.jobs import Delta, Generate, Medium, Sampling, TokenLogprob, Usage
from ollmlx.engine.process import ModelProcess
from ollmlx.errors import BadRequest
from ollmlx.prompt.reply import Parts, ReplyParser
from ollmlx.wire.encode import encode, number
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
    grammar: str = ""
    """Of the answer, thoughts left out."""
    plain: bool = False
    """Whether the grammar's answer is content, and no calls."""
    thinking_budget: int | None = None
    """Tokens of thought after which the answer is asked for."""
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
    """How many of the answer's tokens were thoughts; told with `done_reason`."""
    text: str = ""
    """What the parts were read from."""
    tokens: int = 0
    """How many that text is."""
    thinking: bool = False
    """Whether thoughts may still come."""

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
    tokens = fit_prompt(process, writing)
    if cut := len(writing.prompt) - len(tokens):
        note("Ollmlx-Dropped-Tokens", str(cut))
    thought = _Thought()
    if parser.thinking and (writing.grammar or writing.thinking_budget is not None):
        # A grammar holds for the answer and not for the thoughts: those are written freely, and
        # then they are prompt.
        async with aclosing(_think(process, writing, tokens, parser, thought)) as chunks:
            async for chunk in chunks:
                yield _ended(chunk, thought)
        if thought.answered:
            return
        begun, parser = parser.answer(thought.text, writing.plain)
        tokens = tokens + (await process.tokenize([begun], special=False))[0]
    job = _job(process, writing, tokens, writing.grammar)
    if len(tokens) >= process.info.num_ctx:  # with what was thought
        full = {"prompt": _cut(process, writing, tokens)} if job.shift else {"max_tokens": 0}
        job = structs.replace(job, **full)
    async with aclosing(_run(process, job, parser)) as chunks:
        async for chunk in chunks:
            thought.note(chunk)
            if not chunk.empty or chunk.done_reason:
                yield _ended(chunk, thought)


@dataclass
class _Thought:
    """What a model thought before it answered."""

    text: str = ""
    """As it was written, tags included."""
    tokens: int = 0
    answered: bool = False
    """Whether the answer came in the same run."""

    def note(self, chunk: Chunk) -> None:
        self.text += chunk.text
        if chunk.thinking or chunk.parts.thinking:
            self.tokens += chunk.tokens


def _ended(chunk: Chunk, thought: _Thought) -> Chunk:
    if chunk.done_reason:
        chunk.thinking_tokens = thought.tokens
    return chunk


async def _think(
    process: ModelProcess,
    writing: Writing,
    tokens: list[int],
    parser: ReplyParser,
    thought: _Thought,
) -> AsyncGenerator[Chunk, None]:
    """The chunks of the thoughts; of the answer too, if nothing keeps it from following them."""
    budget = writing.thinking_budget
    if budget == 0:
        return
    async with aclosing(_run(process, _job(process, writing, tokens, ""), parser)) as run:
        async for chunk in run:
            thought.note(chunk)
            wanted = bool(writing.grammar) and (not chunk.thinking or chunk.done_reason == "stop")
            if wanted:
                chunk.parts, chunk.done_reason = Parts(thinking=chunk.parts.thinking), ""
            if not chunk.empty or chunk.done_reason:
                yield chunk
            thought.answered = bool(chunk.done_reason)
            spent = budget is not None and thought.tokens >= budget
            if wanted or thought.answered or (chunk.thinking and spent):
                return


async def _run(
    process: ModelProcess, job: Generate, parser: ReplyParser
) -> AsyncGenerator[Chunk, None]:
    """A chunk for each delta, and one with `done_reason`."""
    if job.max_tokens == 0:
        yield Chunk(done_reason="length", context=runs.text(job.prompt), usage=_unwritten(job))
        return
    context, repeats, before = runs.text(job.prompt), 0, ""
    async with aclosing(process.generate(job)) as deltas:
        async for delta in deltas:
            context += delta.tokens
            chunk = Chunk(parser.push(delta.text), _logprobs(delta, job.logprobs))
            if delta.finish:
                chunk.parts += parser.finish()
            chunk.text, chunk.tokens = delta.text, len(delta.tokens)
            chunk.thinking = parser.thinking
            yield chunk
            if delta.finish and delta.usage:
                yield Chunk(
                    thinking=parser.thinking,
                    done_reason=delta.finish,
                    context=context,
                    usage=delta.usage,
                )
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
        sampling=_sampling(process, options),
        stop=[text for text in options.get("stop", []) if text],
        grammar=constraint,
        logprobs=writing.logprobs,
        num_keep=options.get("num_keep", 4),
        shift=shift,
        media=list(writing.media),
    )


def _sampling(process: ModelProcess, options: dict[str, Any]) -> Sampling:
    sampling = opts.sampling(options)
    for token in sampling.logit_bias:
        if token >= process.info.num_vocab:
            last = process.info.num_vocab - 1
            raise BadRequest(f'option "logit_bias": token ids are from 0 to {last}, not {token}')
    return sampling


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


def _exceeding(tokens: int, window: int) -> str:
    """What Ollama passes on from llama.cpp's server of a prompt that it does not cut itself."""
    message = (
        f"request ({tokens} tokens) exceeds the available context size ({window} tokens),"
        " try increasing it"
    )
    error = {
        "code": 400,
        "message": message,
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": window,
    }
    return encode({"error": error}).decode()


def fit_prompt(process: ModelProcess, writing: Writing) -> list[int]:
    """The prompt's tokens, the middle cut out if they do not fit and may be cut.

    Raises `BadRequest` with Ollama's text when they may not.
    """
    tokens, window = writing.prompt, process.info.num_ctx
    if not tokens:
        raise BadRequest("empty prompt")
    if len(tokens) < window:
        return tokens
    if not writing.truncate:
        raise BadRequest(_exceeding(len(tokens), window))
    if not writing.shift or writing.media:
        raise BadRequest(TOO_LONG)
    return _cut(process, writing, tokens)


def _cut(process: ModelProcess, writing: Writing, tokens: list[int]) -> list[int]:
    """What is left of so many tokens that a window does not hold them: its ends."""
    keep, window = writing.options.get("num_keep", 4), process.info.num_ctx
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
