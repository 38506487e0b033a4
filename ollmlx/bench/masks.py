"""What a grammar adds to the choice of a token, on a made-up vocabulary of any size.

The logits are random, but for the tokens of one document, which are likeliest.  The mask is found
while the device computes: on a GPU it adds nothing as long as it is found in time, on a processor
it adds itself to the step.
"""

import json
import random
import time
from typing import Any

import numpy as np
from llguidance import LLTokenizer
from msgspec import Struct
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ollmlx.bench.contest import Tell
from ollmlx.bench.figures import percentile
from ollmlx.bench.report import Bar, Outcome
from ollmlx.engine.formats import from_format
from ollmlx.engine.grammar import Matcher
from ollmlx.engine.jobs import Generate, Sampling
from ollmlx.engine.llama.sampler import Sampler

_MOST = 0.05
"""Of a step."""
_ADDRESS = {"street": "Saint James Square 12, near the old library", "zip": "12345"}
_DOCUMENT: dict[str, Any] = {
    "name": "Ada Lovelace of London, who wrote the first of them",
    "age": 36,
    "tags": ["mathematics", "engines and other things", "poetry"],
    "kind": "cat",
    "address": _ADDRESS,
}
_TEXT = {"type": "string"}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": _TEXT},
        "kind": {"enum": ["cat", "dog", "bird"]},
        "address": {
            "type": "object",
            "properties": {"street": _TEXT, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": list(_ADDRESS),
        },
    },
    "required": list(_DOCUMENT),
}
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


class Costs(Struct, frozen=True):
    """Microseconds a token, one for each token of the document."""

    free: list[float]
    """To choose a token without a grammar."""
    constrained: list[float]
    """The same with one, its mask at hand."""
    mask: list[float]
    """To find the mask, beside the device."""


class _Vocabulary:
    """As much of a model, and of its context, as a sampler asks for."""

    handle = None

    def __init__(self, size: int) -> None:
        self.num_vocab, self.end_tokens = size, frozenset({size - 1})
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        spellings = [*_spellings(level, size - 1), "<|end|>"]
        tokenizer = Tokenizer(models.BPE({s: i for i, s in enumerate(spellings)}, []))
        tokenizer.pre_tokenizer, tokenizer.decoder = level, decoders.ByteLevel()
        self.grammar_tokenizer = LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=size - 1)
        self._logits = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        self._tokens = {self.grammar_tokenizer.decode_bytes([i]): i for i in range(size - 1)}

    def want(self, token: int) -> None:
        """Make it the likeliest by far."""
        self._row = self._logits.copy()
        self._row[token] = 100.0

    def logits(self, _row: int) -> NDArray[np.float32]:
        return self._row

    def spell(self, text: bytes, grammar: str) -> list[int]:
        """The longest tokens that the grammar allows."""
        matcher, tokens = Matcher(self.grammar_tokenizer, grammar, self.num_vocab), list[int]()
        while text:
            allowed = matcher.allowed()
            starts = (self._tokens.get(text[:length], -1) for length in range(16, 0, -1))
            tokens.append(next(token for token in starts if token >= 0 and allowed[token]))
            matcher.consume(tokens[-1])
            text = text[len(self.grammar_tokenizer.decode_bytes(tokens[-1:])) :]
        return tokens


def _spellings(level: pre_tokenizers.ByteLevel, count: int) -> list[str]:
    """The 256 bytes, then words, punctuation, numbers and Chinese."""
    known, dice = dict.fromkeys(sorted(pre_tokenizers.ByteLevel.alphabet())), random.Random(0)
    while len(known) < count:
        [(spelling, _)] = level.pre_tokenize_str(_word(dice))
        known[spelling] = None
    return list(known)


def _word(dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.75:
        return dice.choice(["", " "]) + "".join(dice.choices(_LETTERS, k=dice.randint(2, 10)))
    if kind < 0.85:
        return "".join(dice.choices('{}[]":,. \n\t/\\-_()<>=', k=dice.randint(2, 5)))
    if kind < 0.92:
        return str(dice.randint(0, 99999)) + "".join(dice.choices(_LETTERS, k=dice.randint(0, 3)))
    return "".join(chr(dice.randint(0x4E00, 0x9FFF)) for _ in range(dice.randint(1, 3)))


def masks(size: int, step_microseconds: int, rounds: int, tell: Tell) -> Outcome:
    """A `step_microseconds` is what the device needs for a token; what the grammar adds to it must
    be less than a twentieth.
    """
    tell(f"making a vocabulary of {size} tokens")
    model, grammar, costs = _Vocabulary(size), from_format(_SCHEMA), Costs([], [], [])
    tokens = model.spell(json.dumps(_DOCUMENT).encode(), grammar)
    for number in range(rounds):
        tell(f"round {number + 1}")
        _walk(model, tokens, "", costs.free, [])
        _walk(model, tokens, grammar, costs.constrained, costs.mask)
    table = [["microseconds a token", "mean", "p50", "p99"]]
    for name in ("free", "constrained", "mask"):
        times = getattr(costs, name)
        spread = (float(np.mean(times)), percentile(times, 50), percentile(times, 99))
        table.append([name, *(f"{time:.0f}" for time in spread)])
    added = float(np.mean(costs.constrained)) - float(np.mean(costs.free))
    hidden, shown = max(added, 0.0), max(added, 0.0) + float(np.mean(costs.mask))
    what = f"of a step of {step_microseconds} µs at {size} tokens"
    bars = [
        Bar(f"share {what}, the mask found beside a GPU", hidden / step_microseconds, _MOST),
        Bar(f"share {what}, the mask found after a processor", shown / step_microseconds, _MOST),
    ]
    return Outcome([costs], table, bars)


def _walk(
    model: _Vocabulary, tokens: list[int], grammar: str, choosing: list[float], masking: list[float]
) -> None:
    """Choose every token of the document; microseconds go to the lists."""
    sampler = Sampler(model, Generate(0, [0], 1, Sampling(seed=1), grammar=grammar), 4096)  # type: ignore[arg-type]  # has all of a model that a sampler uses
    for token in tokens:
        model.want(token)
        started = time.perf_counter()
        sampler.prepare()
        prepared = time.perf_counter()
        choice = sampler.choose(model, 0)  # type: ignore[arg-type]  # as above, of a context
        masking.append((prepared - started) * 1e6)
        choosing.append((time.perf_counter() - prepared) * 1e6)
        assert choice.token == token
    sampler.close()
