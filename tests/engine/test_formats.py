"""What a `format` allows, byte by byte; and what is refused before a model sees it."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest

from ollmlx.engine.formats import LARGEST, from_format
from ollmlx.errors import BadRequest, OllmlxError
from tests.engine import bytewise


def accepted(format: Any, text: str) -> bool:
    return bytewise.accepted(bytewise.matcher(from_format(format)), text)


@pytest.mark.parametrize("format", [None, ""])
def test_no_format_is_no_grammar(format: Any) -> None:
    assert from_format(format) == ""


def test_json_is_any_object() -> None:
    assert accepted("json", json.dumps({"a": [1, None, "é"], "b": {}}, indent=2))
    assert not accepted("json", "[1]")
    assert not accepted("json", '{"a": 1')


def test_a_schema_is_kept_with_its_order() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
    }
    assert accepted(schema, '{"name": "Ada", "age": 36}')
    assert not accepted(schema, '{"age": 36, "name": "Ada"}')
    assert not accepted(schema, '{"name": "Ada", "age": -1}')


def test_only_the_named_properties_come_unless_others_are_asked_for() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert accepted(schema, '{"a": 1}')
    assert not accepted(schema, '{"a": 1, "b": 2}')
    assert accepted(schema | {"additionalProperties": True}, '{"a": 1, "b": 2}')


def test_the_parts_of_a_join_stay_open() -> None:
    named = [{"properties": {name: {"type": "integer"}}, "required": [name]} for name in "ab"]
    assert accepted({"type": "object", "allOf": named}, '{"a": 1, "b": 2}')


@pytest.mark.parametrize(
    ("schema", "kept", "broken"),
    [
        ({"enum": [1, "a", None, [1], {"b": 2}]}, '{"b": 2}', '"b"'),
        ({"const": None}, "null", "0"),
        ({"type": ["string", "null"], "minLength": 2}, "null", '"é"'),
        ({"type": "string", "format": "date-time"}, '"2020-01-01T00:00:00Z"', '"now"'),
        ({"type": "object", "minProperties": 2}, '{"a":1,"b":2}', '{"a":1}'),
        (
            {"type": "array", "items": [{"type": "integer"}, {}], "maxItems": 2},
            '[1, ""]',
            '["", 1]',
        ),
        ({"type": "object", "properties": {"a": True, "b": False}}, '{"a": []}', '{"b": 1}'),
        ({"type": "object", "properties": {}, "required": ["z"]}, '{"z": 1}', "{}"),
        ({"patternProperties": {"^x": {"type": "integer"}}}, '{"x1": 1}', '{"x1": ""}'),
        ({"properties": {"c": {"$ref": "#"}}, "type": "object"}, '{"c": {"c": {}}}', '{"c": 1}'),
        ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}, "4", "6"),
        ({"enum": [f"v{number}" for number in range(5000)]}, '"v4999"', '"v5000"'),
    ],
)
def test_a_schemas_words_are_kept(schema: dict[str, Any], kept: str, broken: str) -> None:
    assert accepted(schema, kept)
    assert not accepted(schema, broken)


def test_white_space_is_bounded() -> None:
    assert accepted("json", '{\n\n    "a": 1\n}')
    assert not accepted("json", '{   "a": 1}')
    assert not accepted("json", '{\n\n\n"a": 1}')
    assert not accepted("json", "{} ")


def test_one_of_is_read_as_any_of() -> None:
    schema = {"oneOf": [{"type": "integer"}, {"type": "boolean"}]}
    assert accepted(schema, "true")
    assert accepted(schema, "7")


def test_a_format_nobody_knows_is_a_remark() -> None:
    schema = {"type": "array", "items": {"type": "string", "format": "path"}}
    assert accepted(schema, '["/etc"]')


def test_data_that_looks_like_a_format_is_left_alone() -> None:
    value = {"format": "path"}
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "format": "path"}, "b": {"const": value}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert accepted(schema, '{"a": "", "b": {"format": "path"}}')
    assert not accepted(schema, '{"a": "", "b": {}}')


@pytest.mark.parametrize(
    ("format", "quoted"),
    [("xml", r'"\"xml\""'), (5, '"5"'), ([1], '"[1]"'), (True, '"true"')],
)
def test_other_formats_are_refused_in_ollamas_words(format: Any, quoted: str) -> None:
    with pytest.raises(OllmlxError) as caught:
        from_format(format)
    assert caught.value.status == 500
    assert str(caught.value) == (
        f'invalid format: {quoted}; expected "json" or a valid JSON Schema object'
    )


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"not": {}}, "not"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "object", "properties": {"a": {"if": {}}}}, "if"),
        ({"type": "strng"}, "strng"),
        ({"$ref": "#/$defs/gone"}, "gone"),
        ({"$ref": "#"}, "no answer is possible"),
        ({"type": "object", "propertyNames": {"pattern": "a"}}, "propertyNames"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "string", "pattern": "^(?=a)"}, "look-around"),
        ({"enum": []}, "Unsatisfiable"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "'a'"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_by_name(
    schema: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadRequest, match=named):
        from_format(schema)


@pytest.mark.parametrize(
    ("format", "kept", "broken"),
    [
        ({"type": "regex", "pattern": r"[a-c]{2}/\d+"}, "ab/7", "ad/7"),
        ({"type": "regex", "pattern": "yes|no"}, "no", "yesno"),
        ({"type": "choice", "choices": ["a", "ab", 'q"\n😀\x7f']}, 'q"\n😀\x7f', "b"),
        ({"type": "lark", "grammar": 'start: "a" x\nx: %json {"type": "integer"}'}, "a12", "ab"),
        ({"type": "gbnf", "grammar": 'root ::= "a" x*\nx ::= [b-d]'}, "abcd", "ae"),
    ],
)
def test_grammars_of_other_notations_are_kept(format: Any, kept: str, broken: str) -> None:
    assert accepted(format, kept)
    assert not accepted(format, broken)


@pytest.mark.parametrize(
    ("format", "named"),
    [
        ({"type": "regex"}, "needs pattern"),
        ({"type": "regex", "pattern": "a", "flags": "i"}, "does not know flags"),
        ({"type": "regex", "pattern": ""}, "not empty"),
        ({"type": "regex", "pattern": 5}, "must be a text"),
        ({"type": "regex", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "regex", "pattern": "["}, "unclosed character class"),
        ({"type": "choice", "choices": []}, "list of texts"),
        ({"type": "choice", "choices": ["a", 1]}, "list of texts"),
        ({"type": "choice", "choices": "ab"}, "list of texts"),
        ({"type": "lark", "grammar": "start: nothing"}, "unknown name"),
        ({"type": "lark", "grammar": 'start: "\ud800"'}, "invalid lark"),
        ({"type": "gbnf", "grammar": "root ::= nothing"}, "not found"),
        ({"type": "gbnf", "grammar": 'x ::= "a"'}, "No 'root' rule"),
    ],
)
def test_what_is_no_such_grammar_is_refused_by_name(format: Any, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        from_format(format)


def test_a_models_own_tokens_may_stand_in_a_grammar() -> None:
    lark = 'start: "a" <|im_end|>'
    assert from_format({"type": "lark", "grammar": lark}) == lark


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def _chain(rules: int) -> str:
    return "start: x0\n" + "\n".join(f'x{i}: "a" x{i + 1}' for i in range(rules))


def _linked(count: int) -> dict[str, Any]:
    links = {f"a{i}": {"items": {"$ref": f"#/$defs/a{i + 1}"}} for i in range(count)}
    return {"$ref": "#/$defs/a0", "$defs": links | {f"a{count}": {"type": "string"}}}


@pytest.mark.parametrize(
    "format",
    [
        _deep(900),
        _linked(5000),
        {"enum": [str(i) for i in range(100_000)]},
        {
            "allOf": [
                {"anyOf": [{"const": i}, {"const": -i}, {"type": "string"}]} for i in range(25)
            ]
        },
        {"type": "lark", "grammar": _chain(20_000)},
        {"type": "lark", "grammar": "start: " + "(" * 20_000 + '"a"' + ")" * 20_000},
        {"type": "gbnf", "grammar": "root ::= " + "(" * 20_000},
        {"type": "regex", "pattern": "(" * 20_000 + "a" + ")" * 20_000},
        {"type": "regex", "pattern": "a" * (LARGEST + 1)},
        {"type": "choice", "choices": ["a" * LARGEST]},
    ],
    ids=lambda format: f"{format.get('type')}-{len(str(format))}",
)
def test_a_hostile_grammar_is_refused_at_once(format: Any) -> None:
    started = time.process_time()
    with pytest.raises(BadRequest):
        from_format(format)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", ["((a{1000}){1000}){1000}", "(.*a){20}b.{500}", "(a|aa)+$"])
def test_a_bomb_of_a_pattern_fails_its_own_answer_only(pattern: str) -> None:
    started = time.process_time()
    with suppress(OllmlxError):
        accepted({"type": "regex", "pattern": pattern}, "a" * 50)
    assert time.process_time() - started < 5


def test_unbounded_repetition_needs_no_room() -> None:
    schema = {"type": "array", "minItems": 100_000, "items": {"type": "integer"}}
    assert not accepted(schema, "[1, 2]")
