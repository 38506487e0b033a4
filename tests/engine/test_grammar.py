import json
from typing import Any

import numpy as np
import pytest
from llguidance import LLTokenizer

from ollmlx.engine.grammar import Matcher, from_format
from ollmlx.errors import BadRequest, OllmlxError


@pytest.fixture(scope="module")
def tokenizer() -> LLTokenizer:
    """A token a byte, and an end token."""
    return LLTokenizer("byte")


def accepted(tokenizer: LLTokenizer, format: Any, text: str) -> bool:
    matcher = Matcher(tokenizer, from_format(format), tokenizer.vocab_size)
    for byte in text.encode():
        if not matcher.allowed()[byte]:
            return False
        matcher.consume(byte)
    return bool(matcher.allowed()[tokenizer.eos_token])


@pytest.mark.parametrize("format", [None, ""])
def test_no_format_is_no_grammar(format: Any) -> None:
    assert from_format(format) == ""


def test_json_is_any_object(tokenizer: LLTokenizer) -> None:
    assert accepted(tokenizer, "json", json.dumps({"a": [1, None, "é"], "b": {}}, indent=2))
    assert not accepted(tokenizer, "json", "[1]")
    assert not accepted(tokenizer, "json", '{"a": 1')


def test_a_schema_is_kept_with_its_order(tokenizer: LLTokenizer) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
    }
    assert accepted(tokenizer, schema, '{"name": "Ada", "age": 36}')
    assert not accepted(tokenizer, schema, '{"age": 36, "name": "Ada"}')
    assert not accepted(tokenizer, schema, '{"name": "Ada", "age": -1}')


def test_only_the_named_properties_come_unless_others_are_asked_for(
    tokenizer: LLTokenizer,
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert accepted(tokenizer, schema, '{"a": 1}')
    assert not accepted(tokenizer, schema, '{"a": 1, "b": 2}')
    assert accepted(tokenizer, schema | {"additionalProperties": True}, '{"a": 1, "b": 2}')


def test_the_parts_of_a_join_stay_open(tokenizer: LLTokenizer) -> None:
    named = [{"properties": {name: {"type": "integer"}}, "required": [name]} for name in "ab"]
    assert accepted(tokenizer, {"type": "object", "allOf": named}, '{"a": 1, "b": 2}')


def test_white_space_is_bounded(tokenizer: LLTokenizer) -> None:
    assert accepted(tokenizer, "json", '{\n\n    "a": 1\n}')
    assert not accepted(tokenizer, "json", '{   "a": 1}')
    assert not accepted(tokenizer, "json", '{\n\n\n"a": 1}')
    assert not accepted(tokenizer, "json", "{} ")


def test_one_of_is_read_as_any_of(tokenizer: LLTokenizer) -> None:
    schema = {"oneOf": [{"type": "integer"}, {"type": "boolean"}]}
    assert accepted(tokenizer, schema, "true")
    assert accepted(tokenizer, schema, "7")


def test_a_format_nobody_knows_is_a_remark(tokenizer: LLTokenizer) -> None:
    schema = {"type": "array", "items": {"type": "string", "format": "path"}}
    assert accepted(tokenizer, schema, '["/etc"]')


def test_data_that_looks_like_a_format_is_left_alone(tokenizer: LLTokenizer) -> None:
    value = {"format": "path"}
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "format": "path"}, "b": {"const": value}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert accepted(tokenizer, schema, '{"a": "", "b": {"format": "path"}}')
    assert not accepted(tokenizer, schema, '{"a": "", "b": {}}')


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
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_by_name(
    schema: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadRequest, match=named):
        from_format(schema)


def test_a_bad_grammar_is_refused(tokenizer: LLTokenizer) -> None:
    with pytest.raises(BadRequest, match="invalid grammar"):
        Matcher(tokenizer, "start: nothing", tokenizer.vocab_size)


def test_only_an_end_token_follows_a_finished_answer(tokenizer: LLTokenizer) -> None:
    matcher = Matcher(tokenizer, from_format("json"), tokenizer.vocab_size)
    for byte in b"{}":
        assert not matcher.finished
        matcher.consume(byte)
    assert matcher.finished
    assert np.flatnonzero(matcher.allowed()).tolist() == [tokenizer.eos_token]


@pytest.mark.parametrize("num_vocab", [200, 262, 512])
def test_the_mask_is_as_wide_as_the_logits(tokenizer: LLTokenizer, num_vocab: int) -> None:
    mask = Matcher(tokenizer, from_format("json"), num_vocab).allowed()
    assert mask.shape == (num_vocab,)
    assert np.flatnonzero(mask).tolist() == [ord("{")]


def test_a_token_that_was_not_allowed_is_an_error_not_a_crash(tokenizer: LLTokenizer) -> None:
    matcher = Matcher(tokenizer, from_format("json"), tokenizer.vocab_size)
    with pytest.raises(OllmlxError, match="grammar failed"):
        matcher.consume(ord("A"))
