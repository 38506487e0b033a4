"""Constrained answers: Ollama's `format` → a llguidance grammar → the tokens allowed next.

The same for both engines.  https://github.com/guidance-ai/llguidance
"""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from ollmlx.errors import BadRequest, OllmlxError

_Schema = dict[str, Any]

_COMPILE = {
    # llama.cpp's bound: left free, small models emit blanks for ever (ollama/ollama#18567).
    "whitespace_pattern": r" |\n{1,2}[ \t]{0,20}",
    # As llama.cpp does; without it a discriminated union of pydantic's is refused.
    "coerce_one_of": True,
    "json_allow_general_unicode_escapes": True,
}
_UNKNOWN_FORMAT = re.compile(r"Unknown format: (.+)")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLES = ("items", "additionalProperties")


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
        return _from_schema(_edit(format, _close) if _closable(format) else format)
    quoted = json.dumps(json.dumps(format, ensure_ascii=False), ensure_ascii=False)
    raise OllmlxError(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')


def _from_schema(schema: _Schema) -> str:
    try:
        grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides=_COMPILE)
    except ValueError as error:
        raise BadRequest(f"invalid JSON schema in format: {error}") from error
    problem = LLMatcher.validate_grammar(grammar)
    if not problem:
        return grammar
    if unknown := _UNKNOWN_FORMAT.search(problem):
        # JSON Schema 2020-12 §7.2.1: a `format` nobody knows (pydantic's "path") is only a remark.
        remark = ("format", unknown[1].strip())
        return _from_schema(_edit(schema, lambda s: dict(p for p in s.items() if p != remark)))
    raise BadRequest(f"invalid JSON schema in format: {problem}")


def _edit(schema: Any, change: Callable[[_Schema], _Schema]) -> Any:
    """A copy with `change` applied to every schema in it, but to no data that looks like one."""
    if not isinstance(schema, dict):
        return schema
    edited: _Schema = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            edited[key] = {name: _edit(part, change) for name, part in value.items()}
        elif key in _LISTS and isinstance(value, list):
            edited[key] = [_edit(part, change) for part in value]
        else:
            edited[key] = _edit(value, change) if key in _SINGLES else value
    return change(edited)


def _close(schema: _Schema) -> _Schema:
    """Only the properties named, unless others are asked for: llama.cpp's reading, and Ollama's."""
    return {"additionalProperties": False, **schema} if "properties" in schema else schema


def _closable(schema: _Schema) -> bool:
    """Whether no schema in it is joined with another: the parts of a join must stay open."""
    joins = []

    def look(part: _Schema) -> _Schema:
        beside = [key for key in ("$ref", "allOf", "anyOf", "oneOf") if key in part]
        joins.append(len(part.get("allOf", [])) > 1 or ("properties" in part and bool(beside)))
        return part

    _edit(schema, look)
    return not any(joins)


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
