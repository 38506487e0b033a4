"""Constrained answers: the `format` of a request → a llguidance grammar.

Ollama's are "json" and JSON Schema.  Ours are objects whose `type` no JSON Schema can have:
`regex`, `choice`, `lark` and `gbnf`.  Nothing here may hurt the server that calls it: what is deep
or large enough to exhaust llguidance's stack is refused before it sees it.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from ollmlx.engine import gbnf
from ollmlx.engine.grammar import LIMITS, first_words
from ollmlx.errors import BadRequest, OllmlxError

_Schema = dict[str, Any]

LARGEST = 1 << 18
"""Characters of a grammar or schema; 256 Ki take llguidance a third of a second."""
_DEEPEST = 100
_MOST_RULES = 500
"""Rules, or definitions referred to: a chain of 1500 overflows llguidance's stack."""
_MOST_KEPT = 16
"""Schemas whose grammars are kept: the rows of a table come with one and the same."""

_COMPILE = {
    # llama.cpp's bound: left free, small models emit blanks for ever (ollama/ollama#18567).
    "whitespace_pattern": r" |\n{1,2}[ \t]{0,20}",
    # As llama.cpp does; without it a discriminated union of pydantic's is refused.
    "coerce_one_of": True,
    "json_allow_general_unicode_escapes": True,
}
_DEAD_END = "NoExtensionBias"
"""llguidance's word where no token may come, as for a `$ref` that leads to itself."""
_UNKNOWN_FORMAT = re.compile(r"Unknown format: (.+)")
_RULE = re.compile(
    r"^[ \t]*[?!]?[A-Za-z_]\w*(?:\.-?\d+)?\s*(?:\[[^\]\n]*\]|\{[^}\n]*\})?\s*:", re.MULTILINE
)
_REFERENCE = re.compile(r'"\$ref"\s*:\s*("(?:[^"\\]|\\.)*")')
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLES = ("items", "additionalProperties")


def from_format(format: Any) -> str:
    """The grammar for a `format` value; empty where that leaves the answer free.

    `"json"` is any JSON object, as in Ollama.  Raises `OllmlxError` with Ollama's text for what is
    neither "json" nor an object, and `BadRequest` naming the keyword, or the place in a grammar,
    that cannot be honoured.
    """
    if format is None or format == "":
        return ""
    if format == "json":
        return _from_schema({"type": "object"})
    if not isinstance(format, dict):
        quoted = json.dumps(json.dumps(format, ensure_ascii=False), ensure_ascii=False)
        expected = '"json" or a valid JSON Schema object'
        raise OllmlxError(f"invalid format: {quoted}; expected {expected}")
    kind = format.get("type")
    if isinstance(kind, str) and (notation := _NOTATIONS.get(kind)):
        key, read = notation
        return _checked(kind, read(_only(format, kind, key)))
    return from_schema(format)


def from_schema(schema: _Schema) -> str:
    """The grammar of a JSON Schema.  Raises as `from_format` does."""
    return _compiled(_checked_text(schema))


@lru_cache(maxsize=_MOST_KEPT)
def _compiled(text: str) -> str:
    """A schema's text, and not the schema: the order of properties counts."""
    schema = json.loads(text)
    return _from_schema(_edit(schema, _close) if _closable(schema) else schema)


def json_rule(schema: _Schema, **options: Any) -> str:
    """A JSON Schema as a term of a Lark grammar; `options` are llguidance's for it.

    Raises as `from_format` does.
    """
    from_schema(schema)  # refuses by name what the term would only be refused for as a whole
    closed = _edit(schema, _close) if _closable(schema) else schema
    known = _edit(closed, _without_remarks)
    return "%json " + json.dumps({**known, "x-guidance": _COMPILE | options})


# -- notations of our own -------------------------------------------------------------------------


def _only(format: _Schema, kind: str, key: str) -> Any:
    """The one value that belongs to a notation."""
    if unknown := format.keys() - {"type", key}:
        raise BadRequest(f'format of type "{kind}" does not know {", ".join(sorted(unknown))}')
    if key not in format:
        raise BadRequest(f'format of type "{kind}" needs {key}')
    return format[key]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadRequest("format: a grammar must be a text that is not empty")
    if len(value) > LARGEST:
        raise BadRequest(f"format: a grammar may have {LARGEST} characters, not {len(value)}")
    return value


def _regex(pattern: Any) -> str:
    return str(LLMatcher.grammar_from_regex(_text(pattern)))


def _choice(choices: Any) -> str:
    texts = choices if isinstance(choices, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("format: choices must be a list of texts that is not empty")
    return _text("start: " + " | ".join(json.dumps(text) for text in texts))


def _lark(text: Any) -> str:
    lark = _text(text)
    if len(_RULE.findall(lark)) > _MOST_RULES or _references(lark) > _MOST_RULES:
        raise BadRequest(f"format: a grammar may have {_MOST_RULES} rules")
    return lark


def _gbnf(text: Any) -> str:
    try:
        return _lark(gbnf.to_lark(_text(text)))
    except ValueError as error:
        raise BadRequest(f"invalid gbnf in format: {error}") from error


_NOTATIONS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "regex": ("pattern", _regex),
    "choice": ("choices", _choice),
    "lark": ("grammar", _lark),
    "gbnf": ("grammar", _gbnf),
}


@cache
def _bytes() -> LLTokenizer:
    return LLTokenizer("byte")


def _checked(kind: str, grammar: str) -> str:
    """Compile it and take a first step, so that it fails before the answer and not in it."""
    try:
        matcher = LLMatcher(_bytes(), grammar, log_level=0, limits=LIMITS)
        if not matcher.is_error():
            matcher.compute_bitmask()
        problem = matcher.get_error().replace(_DEAD_END, "no answer is possible")
    except ValueError as error:  # half a surrogate pair
        raise BadRequest(f"invalid {kind} in format: {error}") from error
    # Special tokens are the model's own: its process knows them.
    if problem and "special token" not in problem and "Token range" not in problem:
        raise BadRequest(f"invalid {kind} in format: {first_words(problem)}")
    return grammar


# -- JSON Schema ----------------------------------------------------------------------------------


def _checked_text(schema: _Schema) -> str:
    """A schema that llguidance survives, as JSON."""
    layer: list[Any] = [schema]
    for _ in range(_DEEPEST):
        layer = [inner for value in layer for inner in _inside(value)]
    if layer:
        raise BadRequest(f"invalid JSON schema in format: more than {_DEEPEST} levels deep")
    text = json.dumps(schema)
    if len(text) > LARGEST:
        raise BadRequest(f"invalid JSON schema in format: longer than {LARGEST} characters")
    if _references(text) > _MOST_RULES:
        raise BadRequest(f"invalid JSON schema in format: more than {_MOST_RULES} definitions")
    return text


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield from value.values() if isinstance(value, dict) else value


def _references(text: str) -> int:
    return len(set(_REFERENCE.findall(text)))


def _from_schema(schema: _Schema) -> str:
    try:
        grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides=_COMPILE)
        problem = LLMatcher.validate_grammar(grammar, limits=LIMITS)
    except ValueError as error:
        raise BadRequest(f"invalid JSON schema in format: {error}") from error
    if not problem:
        return _checked("JSON schema", grammar)
    if _UNKNOWN_FORMAT.search(problem) and (known := _edit(schema, _without_remarks)) != schema:
        return _from_schema(known)
    raise BadRequest(f"invalid JSON schema in format: {first_words(problem)}")


def _without_remarks(schema: _Schema) -> _Schema:
    """JSON Schema 2020-12 §7.2.1: a `format` nobody knows (pydantic's "path") is only a remark."""
    name = schema.get("format")
    if not isinstance(name, str) or _knows_format(name):
        return schema
    return {key: value for key, value in schema.items() if key != "format"}


@cache
def _knows_format(name: str) -> bool:
    grammar = LLMatcher.grammar_from_json_schema({"type": "string", "format": name})
    return not LLMatcher.validate_grammar(grammar)


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
    named, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(named, dict) or not isinstance(required, list):
        return schema
    if any(name not in named for name in required):
        return schema
    return {"additionalProperties": False, **schema}


def _closable(schema: _Schema) -> bool:
    """Whether no schema in it is joined with another: the parts of a join must stay open."""
    joins = []

    def look(part: _Schema) -> _Schema:
        beside = [key for key in ("$ref", "allOf", "anyOf", "oneOf") if key in part]
        joins.append(len(part.get("allOf", [])) > 1 or ("properties" in part and bool(beside)))
        return part

    _edit(schema, look)
    return not any(joins)
