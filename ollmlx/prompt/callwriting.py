"""A tool's calls as terms of a grammar, one function for each way of writing them.

Each takes a name, the JSON Schema of the arguments, and the grammar that it adds to; it is the
mirror of one in `callreading`.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ollmlx.errors import BadRequest
from ollmlx.prompt import typed
from ollmlx.prompt.callreading import MINIMAX, deepseek
from ollmlx.prompt.lark import ANYTHING, Lark, one_of, text

Schema = dict[str, Any]
Writer = Callable[[str, Schema, Lark], str]
_NUMBER = "/[0-9]{1,3}/"
_PYTHON_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_JOINS = ("$ref", "allOf", "anyOf", "oneOf")


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def json_object(
    name: str = "name", arguments: str = "arguments", numbered: str = "", one_line: bool = False
) -> Writer:
    """`{"name": …, "arguments": {…}}`; `numbered` is the key of an id before them."""
    options = {"whitespace_pattern": " "} if one_line else {}

    def write(called: str, schema: Schema, lark: Lark) -> str:
        number = f"{text('{' + _quoted(numbered) + ': ' + chr(34))} {_NUMBER}" if numbered else ""
        start = '", ' if numbered else "{"
        head = text(f'{start}"{name}": {_quoted(called)}, "{arguments}": ')
        return f"{number} {head} {lark.terms.json(schema, **options)} {text('}')}"

    return write


def between(before: str, after: str, end: str) -> Writer:
    """The name between two tags, then the arguments as JSON, then a tag."""

    def write(name: str, schema: Schema, lark: Lark) -> str:
        tag = lark.terms.tag
        return f"{tag(before + name + after)} {lark.terms.json(schema)} {end and tag(end)}"

    return write


write_deepseek = between(deepseek("call▁begin"), deepseek("sep"), deepseek("call▁end"))
write_mistral = between("", "[ARGS]", "")
write_function_object = between("", ">", "")
write_addressed = between("", "\n", "")


def write_deepseek_r1(name: str, schema: Schema, lark: Lark) -> str:
    tag = lark.terms.tag
    head = f"{deepseek('call▁begin')}function{deepseek('sep')}{name}\n```json\n"
    end = "\n```" + deepseek("call▁end")
    return f"{tag(head)} {lark.terms.json(schema)} {tag(end)}"


def write_apertus(name: str, schema: Schema, lark: Lark) -> str:
    return f"{text('{' + _quoted(name) + ': ')} {lark.terms.json(schema)} {text('}')}"


def write_solar(name: str, schema: Schema, lark: Lark) -> str:
    tag = lark.terms.tag
    named = tag(f"<|tool_call:name|>{name}<|tool_call:args|>")
    arguments = f"{lark.terms.json(schema)} {tag('<|tool_call:end|>')}"
    return f"{tag('<|tool_call:begin|>')} /[a-zA-Z0-9_]{{1,24}}/ {named} {arguments}"


def write_kimi(name: str, schema: Schema, lark: Lark) -> str:
    tag = lark.terms.tag
    head = tag(f"<|tool_call_begin|>functions.{name}:")
    arguments = f"{tag('<|tool_call_argument_begin|>')} {lark.terms.json(schema)}"
    return f"{head} {_NUMBER} {arguments} {tag('<|tool_call_end|>')}"


def write_kimi_block(name: str, schema: Schema, lark: Lark) -> str:
    tag = lark.terms.tag
    escaped = name.replace("&", "&amp;").replace('"', "&quot;")
    head = tag(f'<|open|>call tool="{escaped}" index="')
    opened = tag('"<|sep|><|open|>json type="object"<|sep|>')
    closed = tag("<|close|>json<|sep|><|close|>call<|sep|>")
    return f"{head} {_NUMBER} {opened} {lark.terms.json(schema)} {closed}"


def tagged(head: str, key: str, end: str, tail: str) -> Writer:
    """Arguments between tags of their own, texts as they are: `{}` is the name, and the key, and
    `{text}` tells whether the value is a text.
    """

    def write(name: str, schema: Schema, lark: Lark) -> str:
        tag = lark.terms.tag
        items = [
            (f"{tag(_opened(key, inner, part))} {_up_to(end, part, lark)}", needed)
            for inner, part, needed in _arguments(name, schema)
        ]
        return f"{tag(head.replace('{}', name))} {lark.sequence(items)} {tail and tag(tail)}"

    return write


def _opened(tag: str, key: str, schema: Schema) -> str:
    kinds = _kinds(schema)
    is_text = "true" if "string" in kinds or not kinds else "false"
    return tag.replace("{text}", is_text).replace("{}", key)


def write_python(name: str, schema: Schema, lark: Lark) -> str:
    """`f(a="x", b=[1])`, its values as JSON without what Python would read otherwise."""
    if not _PYTHON_NAME.fullmatch(name):
        raise BadRequest(f'this model calls tools as Python does, which "{name}" is no name for')
    value = lark.terms.json
    options = {
        "json_allow_general_unicode_escapes": False,
        "json_allowed_escapes": '"\\nrt',
        "whitespace_pattern": " ",  # a new line would end the call
    }
    items = [
        (f"{text(key + '=')} {value(part, **options)}", needed)
        for key, part, needed in _arguments(name, schema)
    ]
    return f"{text(name + '(')} {lark.sequence(items, ', ')} {text(')')}"


def loose(quote: str) -> Writer:
    """`call:NAME{key:<q>text<q>}`, strings between `quote` marks."""

    def write(name: str, schema: Schema, lark: Lark) -> str:
        return f"{text(f'call:{name}')} {_loose_object(name, schema, quote, lark)}"

    return write


def write_elements(name: str, schema: Schema, lark: Lark) -> str:
    """`<invoke name="NAME"><KEY>VALUE</KEY>…</invoke>`, `MINIMAX` before each tag."""
    head, end = f'{MINIMAX}<invoke name="{name}">', f"{MINIMAX}</invoke>"
    tag = lark.terms.tag
    return f"{tag(head)} {_elements(name, schema, lark)} {tag(end)} {text(chr(10))}"


# -- values ---------------------------------------------------------------------------------------


def _arguments(name: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Each argument's name, its schema with the definitions it may refer to, and whether it must
    be there.
    """
    if join := [key for key in _JOINS if key in schema]:
        raise BadRequest(f'tool "{name}": this model\'s calls cannot be held to "{join[0]}"')
    definitions: Schema = {k: schema[k] for k in ("$defs", "definitions") if k in schema}
    properties, needed = schema.get("properties"), schema.get("required")
    for key, part in (properties if isinstance(properties, dict) else {}).items():
        known = part if isinstance(part, dict) else {}
        yield key, {**definitions, **known}, isinstance(needed, list) and key in needed


def _kinds(schema: Schema) -> set[str]:
    kind = schema.get("type")
    kinds = {kind} if isinstance(kind, str) else set(kind or ())
    for part in [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        kinds |= _kinds(part) if isinstance(part, dict) else set()
    return kinds


def _up_to(end: str, schema: Schema, lark: Lark) -> str:
    """A value and `end` after it: texts as they are, all else as JSON."""
    written = lark.terms.json(schema)  # refuses what no model could be held to
    if values := typed.listed(schema):
        return f"{one_of(values)} {lark.terms.tag(end)}"
    kinds = _kinds(schema)
    if kinds and "string" not in kinds:
        return f"{written} {lark.terms.tag(end)}"
    return lark.until(end, _pattern(schema) if kinds == {"string"} else ANYTHING)


def _pattern(schema: Schema) -> str:
    """What a text must match."""
    parts = []
    if "minLength" in schema or "maxLength" in schema:
        parts.append(f"(?s:.{{{schema.get('minLength', 0)},{schema.get('maxLength', '')}}})")
    if pattern := schema.get("pattern"):
        begun, ended = pattern.startswith("^"), pattern.endswith("$")
        inner = re.sub(r"(?<!\\)/", r"\\/", pattern[begun : len(pattern) - ended])
        parts.append(f"{'' if begun else '(?s:.*)'}({inner}){'' if ended else '(?s:.*)'}")
    return " & ".join(f"/{part}/" for part in parts) or ANYTHING


def _loose_object(name: str, schema: Schema, quote: str, lark: Lark) -> str:
    items = [
        (f"{text(key + ':')} {_loose_value(name, part, quote, lark)}", needed)
        for key, part, needed in _arguments(name, schema)
    ]
    return f"{text('{')} {lark.sequence(items, ',')} {text('}')}"


def _loose_value(name: str, schema: Schema, quote: str, lark: Lark) -> str:
    written, kinds, tag = lark.terms.json(schema), _kinds(schema), lark.terms.tag(quote)
    string = f"{tag} {lark.until(quote, _pattern(schema))}"
    if listed := typed.listed(schema):
        terms = [
            f"{tag} {text(shown)} {tag}" if isinstance(value, str) else text(shown)
            for shown, value in listed.items()
        ]
        return f"({' | '.join(terms)})"
    if kinds == {"string"}:
        return string
    if kinds == {"object"} and "properties" in schema:
        return _loose_object(name, schema, quote, lark)
    if kinds == {"array"} and isinstance(schema.get("items"), dict):
        item = _loose_value(name, schema["items"], quote, lark)
        least, most = _bounds(schema)
        more = f"({text(',')} {item}){_repeated(max(least - 1, 0), most and most - 1)}"
        items = "" if most == 0 else f"({item} {more}){'' if least else '?'}"
        return f"{text('[')} {items} {text(']')}"
    if kinds and not kinds & {"string", "object", "array"}:
        return written
    raise BadRequest(f'tool "{name}": this model\'s calls cannot be held to a value of any type')


def _elements(name: str, schema: Schema, lark: Lark) -> str:
    arguments = _arguments(name, schema)
    return lark.sequence((_element(name, key, part, lark), must) for key, part, must in arguments)


def _element(name: str, key: str, schema: Schema, lark: Lark) -> str:
    """Objects and lists as elements inside it, all else up to the end."""
    end, kinds, tag = f"{MINIMAX}</{key}>", _kinds(schema), lark.terms.tag
    head = tag(f"{MINIMAX}<{key}>")
    if kinds == {"object"} and "properties" in schema:
        return f"{head} {_elements(name, schema, lark)} {tag(end)}"
    if kinds == {"array"} and isinstance(schema.get("items"), dict):
        items = f"({_element(name, 'item', schema['items'], lark)}){_repeated(*_bounds(schema))}"
        return f"{head} {items} {tag(end)}"
    return f"{head} {_up_to(end, schema, lark)}"


def _bounds(schema: Schema) -> tuple[int, int | None]:
    """The least and the most items of a list; None is any number."""
    return schema.get("minItems", 0), schema.get("maxItems")


def _repeated(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"
