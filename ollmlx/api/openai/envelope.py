"""What the OpenAI endpoints share: their envelope, errors and numbers.

Each of them wraps the generators of `generate` by typed values, never by re-parsing bytes.
"""

import random
from collections.abc import Sequence

from msgspec import Struct

from ollmlx.api.answers import PLAIN_JSON, Whole
from ollmlx.wire import native
from ollmlx.wire import openai as wire
from ollmlx.wire.encode import encode

FINGERPRINT = "fp_ollama"
DONE = "[DONE]"
FEWEST_CACHED = 128
"""Prompt tokens out of a cache that are worth telling.  OpenAI counts them in steps of this; with
fewer, an answer has exactly the keys of Ollama's.
"""
Answered = native.ChatResponse | native.GenerateResponse


def whole(body: Struct) -> Whole:
    return Whole(body, PLAIN_JSON, "\n")


def new_id(prefix: str) -> str:
    return f"{prefix}-{random.randrange(999)}"


def usage(answers: Sequence[Answered], each: int = 1) -> wire.Usage:
    """What all answers cost together; `each` prompt was read once for so many of them."""
    firsts = answers[::each]
    read = sum(answer.prompt_eval_count for answer in firsts)
    written = sum(answer.eval_count for answer in answers)
    cached = sum(answer.cached_tokens for answer in firsts)
    thought = sum(answer.thinking_tokens for answer in answers)
    return wire.Usage(
        read,
        written,
        read + written,
        wire.PromptTokens(cached) if cached >= FEWEST_CACHED else None,
        wire.CompletionTokens(thought) if thought else None,
    )


def called_tools(calls: Sequence[native.ReplyToolCall]) -> list[wire.ToolCall]:
    return [
        wire.ToolCall(
            call.id,
            call.function.index,
            "function",
            wire.Function(call.function.name, encode(call.function.arguments).decode()),
        )
        for call in calls
    ]
