"""Constrained answers: Ollama's `format` → a llguidance grammar → the tokens allowed next.

The same for both engines.  https://github.com/guidance-ai/llguidance
"""

import json
import re
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from ollmlx.errors import BadRequest, OllmlxError

_COMPILE = {
    # llama.cpp's bound: left free, small models emit blanks for ever (ollama/ollama#18567).
    "whitespace_pattern": r" |\n{1,2}[ \t]{0,20}",
    # As llama.cpp does; without it a discriminated union of pydantic's is refused.
    "coerce_one_of": True,
    "json_allow_general_unicode_escapes": True,
}
_UNKNOWN_FORMAT = re.compile(r"Unknown format: (.+)")
_DATA = ("const", "default", "enum", "examples")


def from_format(format: Any) -> str:
    """The grammar for Ollama's `format` value; empty where that leaves the answer free.

    `"json"` is any JSON object, as in Ollama.  Raises `OllmlxError` with Ollama's text for what is
    neither "json" nor an object, and `BadRequest` naming the keyword for a schema that llguidance
    cannot honour.
    """
    if format is None or format == "":
        return ""
    if format == "json":
        return _from_schema({"type": "object"})
    if isinstance(format, dict):
        return _from_schema(format)
    quoted = json.dumps(json.dumps(format, ensure_ascii=False), ensure_ascii=False)
    raise OllmlxError(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')


def _from_schema(schema: dict[str, Any]) -> str:
    try:
        grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides=_COMPILE)
    except ValueError as error:
        raise BadRequest(f"invalid JSON schema in format: {error}") from error
    problem = LLMatcher.validate_grammar(grammar)
    if not problem:
        return grammar
    if unknown := _UNKNOWN_FORMAT.search(problem):
        # JSON Schema 2020-12 §7.2.1: a `format` nobody knows (pydantic's "path") is only a remark.
        return _from_schema(_without_format(schema, unknown[1].strip()))
    raise BadRequest(f"invalid JSON schema in format: {problem}")


def _without_format(schema: Any, name: str) -> Any:
    if isinstance(schema, list):
        return [_without_format(item, name) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key in _DATA else _without_format(value, name)
        for key, value in schema.items()
        if (key, value) != ("format", name)
    }


class Matcher:
    """One answer's way through a grammar."""

    finished: bool
    """Whether the answer is complete, so that only an end token may follow."""

    def __init__(self, tokenizer: LLTokenizer, grammar: str, num_vocab: int) -> None:
        """`num_vocab` is the width of the logits.  Raises `BadRequest` for a bad grammar."""
        self._matcher = LLMatcher(tokenizer, grammar, log_level=0)
        if self._matcher.is_error():
            raise BadRequest(f"invalid grammar: {self._matcher.get_error()}")
        self._words = np.zeros((tokenizer.vocab_size + 31) // 32, np.uint32)
        self._shared = min(tokenizer.vocab_size, num_vocab)
        self._mask = np.zeros(num_vocab, np.bool_)
        self.finished = self._matcher.is_stopped()

    def allowed(self) -> NDArray[np.bool_]:
        """Which token may come next, over `num_vocab`; only end tokens when finished.

        Overwritten by the next call.  Raises `OllmlxError` where the grammar is too complex.
        """
        self._matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
        self._check()
        bits = np.unpackbits(self._words.view(np.uint8), bitorder="little")
        self._mask[: self._shared] = bits[: self._shared]
        return self._mask

    def consume(self, token: int) -> None:
        """Go on by an allowed token that is not an end token.  Raises as `allowed` does."""
        self._matcher.consume_token(token)
        self._check()
        self.finished = self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = self._matcher.get_error().partition("\n<state>")[0]
            raise OllmlxError(f"the answer's grammar failed: {reason}")
