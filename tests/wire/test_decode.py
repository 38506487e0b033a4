"""Requests are read as Go's encoding/json reads them, down to the text of its errors."""

import json

import pytest

from ollmlx.errors import BadRequest, Malformed
from ollmlx.settings import FOREVER
from ollmlx.wire.decode import decode
from ollmlx.wire.native import ChatRequest, GenerateRequest


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "missing request body"),
        (" \n", "missing request body"),
        ("{", "unexpected EOF"),
        ('{"a":"b', "unexpected EOF"),
        ('{"a":tr', "unexpected EOF"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a":[1 2]}', "invalid character '2' after array element"),
        ('{"a":trux}', "invalid character 'x' in literal true (expecting 'e')"),
        ('{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        ('{"a":"x\ny"}', r"invalid character '\n' in string literal"),
        ("[]", "json: cannot unmarshal array into Go value of type api.GenerateRequest"),
        (
            '{"prompt":5}',
            "json: cannot unmarshal number into Go struct field GenerateRequest.prompt"
            " of type string",
        ),
        (
            '{"context":[1.5]}',
            "json: cannot unmarshal number 1.5 into Go struct field GenerateRequest.context"
            " of type int",
        ),
        (
            '{"options":[]}',
            "json: cannot unmarshal array into Go struct field GenerateRequest.options"
            " of type map[string]interface {}",
        ),
        ('{"keep_alive":"10"}', 'time: missing unit in duration "10"'),
        ('{"keep_alive":"-1"}', 'time: missing unit in duration "-1"'),
        ('{"keep_alive":""}', 'time: invalid duration ""'),
        ('{"keep_alive":"10x"}', 'time: unknown unit "x" in duration "10x"'),
        ('{"keep_alive":true}', "Unsupported type: 'bool'"),
        (
            '{"think":"ultra"}',
            'invalid think value: "ultra" (must be "high", "medium", "low", "max", true, or false)',
        ),
        ('{"images":["data:x"]}', "illegal base64 data at input byte 4"),
        ('{"images":["YQ"]}', "illegal base64 data at input byte 0"),
        ("[" * 200_000, "exceeded max depth"),
    ],
)
def test_what_cannot_be_read_is_refused_in_gos_words(body, text):
    with pytest.raises(BadRequest) as refusal:
        decode(body.encode(), GenerateRequest)
    assert str(refusal.value) == text


def test_names_match_in_any_case_and_the_exact_one_wins():
    assert decode(b'{"MODEL":"a","prompt":"p","Prompt":"q"} rest', GenerateRequest).prompt == "p"
    assert decode(b'{"Model":"a"}', GenerateRequest).model == "a"


def test_null_is_absence_and_unknown_fields_are_ignored():
    assert decode(b'{"model":null,"x":{"y":[]}}', GenerateRequest) == GenerateRequest()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("-1", FOREVER), ("0", 0), ("0.5", 0.5), ('"1h30m"', 5400), ('"300ms"', 0.3), ('"0"', 0)],
)
def test_keep_alive_is_seconds_or_a_duration(value, seconds):
    request = decode(f'{{"keep_alive":{value}}}'.encode(), GenerateRequest)
    assert request.keep_alive == pytest.approx(seconds)


def test_tools_keep_what_templates_see_and_their_order():
    tool = (
        b'{"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object",'
        b'"properties":{"b":{"type":"string","format":"date"},"a":{"type":["null","integer"]}}}}}]}'
    )
    (read,) = decode(tool, ChatRequest).tools
    assert list(read.function.parameters.properties) == ["b", "a"]
    assert read.function.parameters.properties["a"].type == ["null", "integer"]


@pytest.mark.parametrize(
    "choice",
    ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}],
)
def test_a_choice_of_tools_is_openais(choice: object) -> None:
    body = json.dumps({"tool_choice": choice, "parallel_tool_calls": False, "thinking_budget": 8})
    request = decode(body.encode(), ChatRequest)
    assert request.tool_choice == choice
    assert (request.parallel_tool_calls, request.thinking_budget) == (False, 8)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("tool_choice", "any", "tool_choice must be "),
        ("tool_choice", {"type": "function", "name": "f"}, "tool_choice must be "),
        ("tool_choice", True, "tool_choice must be "),
        ("parallel_tool_calls", "no", "cannot unmarshal string into Go struct field"),
        ("thinking_budget", -1, "thinking_budget must not be negative"),
        ("thinking_budget", 1.5, "cannot unmarshal number 1.5 into Go struct field"),
        ("thinking_budget", True, "cannot unmarshal bool into Go struct field"),
    ],
)
def test_what_is_no_choice_and_no_budget_is_refused(field: str, value: object, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        decode(json.dumps({field: value}).encode(), ChatRequest)


@pytest.mark.parametrize(
    ("text", "read"),
    [(r"\ud83d\ude00", "😀"), (r"a\ud83db", "a\ufffdb"), (r"\uDE00", "\ufffd"), (r"\u00e9", "é")],
)
def test_half_a_surrogate_pair_is_no_character(text, read):
    body = f'{{"model": "{text}", "options": {{"{text}": ["{text}"]}}}}'.encode()
    request = decode(body, ChatRequest)
    assert request.model == read
    assert request.options == {read: [read]}


@pytest.mark.parametrize("number", ["9" * 5000, "1e400", "-1e400"])
def test_a_number_beyond_all_floats_is_refused(number):
    with pytest.raises(Malformed, match="of type float64"):
        decode(f'{{"options": {{"seed": {number}}}}}'.encode(), ChatRequest)


def test_a_number_beyond_int64_is_a_float():
    read = decode(b'{"options": {"a": 9223372036854775807, "b": 9223372036854775808}}', ChatRequest)
    assert read.options == {"a": 2**63 - 1, "b": 2.0**63}
    assert isinstance(read.options["b"], float)
    with pytest.raises(Malformed, match="of type int"):
        decode(b'{"top_logprobs": 9223372036854775808}', ChatRequest)


@pytest.mark.parametrize("think", [True, False, "low", "max"])
def test_thinking_is_switched_or_has_a_level(think):
    assert decode(json.dumps({"think": think}).encode(), ChatRequest).think == think


def test_a_tools_whole_schema_is_kept_beside_what_templates_are_shown() -> None:
    given = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "x": 1}
    tool = {"type": "function", "function": {"name": "f", "parameters": {**given, "WHOLE": 5}}}
    parameters = decode(json.dumps({"tools": [tool]}).encode(), ChatRequest).tools[0]
    assert parameters.function.parameters.whole == {**given, "WHOLE": 5}
    assert parameters.function.parameters.properties["n"].type == "integer"
