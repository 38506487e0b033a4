"""How soon a chat's second turn starts, against such a conversation never seen before."""

import asyncio
import statistics
from collections.abc import Sequence

from msgspec import Struct

from ollmlx.bench import texts
from ollmlx.bench.contest import Tell
from ollmlx.bench.endpoint import Endpoint, answer
from ollmlx.bench.report import Bar, Outcome, milliseconds
from ollmlx.bench.timeline import AnswerFailed, Timeline

LIMIT = 0.2
_ANSWER = 16
"""Tokens of the first turn's answer."""


class SecondTurn(Struct, frozen=True):
    """Seconds to the first token, a round each."""

    name: str
    cold: list[float]
    second: list[float]
    prompt_tokens: int = 0
    """Of the second turn, history included."""
    ratio: float = 0.0
    """Median over rounds of second by cold."""
    error: str = ""


def second_turn(
    endpoints: Sequence[Endpoint], history: int, rounds: int, key: str, tell: Tell
) -> Outcome:
    """`history` is about the number of tokens that the first turn has."""
    results = [_measure(endpoint, history, rounds, key, tell) for endpoint in endpoints]
    table = [["who", "history", "cold", "second turn", "second / cold"]]
    for result in results:
        if result.error:
            table.append([result.name, "failed", "", "", ""])
        else:
            middle = [milliseconds(statistics.median(t)) for t in (result.cold, result.second)]
            tokens = f"{result.prompt_tokens} tokens"
            table.append([result.name, tokens, *middle, f"{result.ratio:.3f}"])
    bars = [
        Bar(f"second turn / cold, {result.name}", result.ratio, LIMIT)
        for result in results
        if not result.error
    ]
    failures = [f"{result.name} failed: {result.error}" for result in results if result.error]
    return Outcome(results, table, bars, failures)


def _measure(endpoint: Endpoint, history: int, rounds: int, key: str, tell: Tell) -> SecondTurn:
    try:
        return asyncio.run(_rounds(endpoint, history, rounds, key, tell))
    except AnswerFailed as error:
        return SecondTurn(endpoint.url, [], [], error=str(error))


async def _rounds(
    endpoint: Endpoint, history: int, rounds: int, key: str, tell: Tell
) -> SecondTurn:
    cold: list[float] = []
    second: list[float] = []
    read = 0
    await answer(endpoint, endpoint.chat(texts.question(f"{key}/warm", 4), 2))
    for number in range(rounds):
        tell(f"{endpoint.url}: round {number + 1}")
        unseen = texts.question(f"{key}/cold/{number}", history)
        words = texts.words(f"{key}/answer/{number}", _ANSWER)
        first_time = await _ask(endpoint, texts.follow_up(unseen, words), 2)
        begun = texts.question(f"{key}/begun/{number}", history)
        said = await _ask(endpoint, begun, _ANSWER)
        again = await _ask(endpoint, texts.follow_up(begun, said.text), 2)
        cold.append(first_time.first)
        second.append(again.first)
        read = again.prompt_tokens
    pairs = zip(second, cold, strict=True)
    ratio = statistics.median(warm / unread for warm, unread in pairs)
    return SecondTurn(endpoint.url, cold, second, read, ratio)


async def _ask(endpoint: Endpoint, messages: list[texts.Message], tokens: int) -> Timeline:
    return await answer(endpoint, endpoint.chat(messages, tokens))
