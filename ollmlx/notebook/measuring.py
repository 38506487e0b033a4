"""`%ollmlx compare` and `%ollmlx bench`: models side by side."""

import asyncio
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from ollmlx.batch.beside import run_beside
from ollmlx.batch.progress import new_bar
from ollmlx.client import AsyncClient
from ollmlx.notebook.answer import Answer
from ollmlx.notebook.asking import RESULT
from ollmlx.notebook.errors import Interrupted, Misused
from ollmlx.notebook.saying import show, table
from ollmlx.notebook.session import Session
from ollmlx.notebook.variables import check_out

_QUESTION = "Tell me a long story about a river, a stone and round number {}."
"""Another number each time, so that no answer is begun by an earlier one's cache."""


@dataclass(frozen=True)
class Measured:
    """One model with so many answers at once."""

    model: str
    streams: int
    tokens: int
    """Written by all streams together."""
    seconds: float
    first_token_seconds: float
    """Median of the streams."""
    tokens_per_second: float
    """Of all streams together."""


def compare(session: Session, given: Namespace) -> None:
    """Leaves the answers in `_ollmlx`, one a model."""
    check_out(given.out)
    options = {"temperature": given.temperature, "num_predict": given.num_predict}
    answers = [Answer(model) for model in given.models]
    bar = new_bar()
    try:
        run_beside(
            _ask_each(answers, given.prompt, options),
            lambda: bar.show(", ".join(f"{a.model}: {len(a.text)} characters" for a in answers)),
        )
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; what had come by then is in {RESULT}") from None
    finally:
        session.variables[RESULT] = answers
    rows = [[a.model, f"{a.tokens_per_second:.1f}", a.text] for a in answers]
    bar.show(f"{len(rows)} answers", final=True)
    show(table(given.prompt, ("Model", "Tokens/s", "Answer"), rows))
    if given.out:
        session.variables[given.out] = answers


def bench(session: Session, given: Namespace) -> None:
    """A minute's impression; `python -m ollmlx.bench` measures with care."""
    check_out(given.out)
    counts = _counts(given.streams)
    if given.tokens < 1:
        raise Misused("--tokens is a number from 1 up")
    bar, measured = new_bar(), list[Measured]()
    try:
        for model in given.models:
            run_beside(_warm(model))
            for streams in counts:
                bar.show(f"{model}: {streams} at once")
                work = _measure(model, streams, given.tokens)
                measured.append(run_beside(work))
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted after {len(measured)} measurements") from None
    finally:
        bar.show(f"{len(measured)} measurements", final=True)
        if given.out:
            session.variables[given.out] = [asdict(one) for one in measured]
    columns = ("Model", "At once", "Tokens/s", "Tokens/s each", "First token")
    show(table("", columns, [_row(one) for one in measured]))


def _row(one: Measured) -> list[str]:
    rate = one.tokens_per_second
    first = f"{one.first_token_seconds * 1000:.0f} ms"
    return [one.model, str(one.streams), f"{rate:.1f}", f"{rate / one.streams:.1f}", first]


def _counts(text: str) -> list[int]:
    counts = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not all(counts):
        raise Misused(f"--streams is numbers with commas between, not {text!r}")
    return counts


async def _ask_each(answers: Sequence[Answer], prompt: str, options: dict[str, float]) -> None:
    """One after the other: what is compared is their speed, too."""
    async with AsyncClient() as client:
        for answer in answers:
            await client.generate(model=answer.model, prompt="")
            parts = await client.chat(
                answer.model, [{"role": "user", "content": prompt}], options=options, stream=True
            )
            async for part in parts:
                answer.add(part)


async def _warm(model: str) -> None:
    async with AsyncClient() as client:
        await client.generate(model=model, prompt="")


async def _measure(model: str, streams: int, tokens: int) -> Measured:
    async with AsyncClient() as client:
        began = time.perf_counter()
        asked = [_stream(client, model, number, tokens) for number in range(streams)]
        ended = await asyncio.gather(*asked)
        seconds = time.perf_counter() - began
    written = sum(count for _, count in ended)
    firsts = median(first - began for first, _ in ended)
    return Measured(model, streams, written, seconds, firsts, written / seconds)


async def _stream(client: AsyncClient, model: str, number: int, tokens: int) -> tuple[float, int]:
    """When its first token came, and how many there were."""
    question = _QUESTION.format(f"{number}/{time.time_ns()}")
    options = {"temperature": 0, "num_predict": tokens}
    first, count = 0.0, 0
    parts = await client.chat(
        model, [{"role": "user", "content": question}], options=options, stream=True
    )
    async for part in parts:
        first = first or time.perf_counter()
        count = part.eval_count or 0
    return first, count
