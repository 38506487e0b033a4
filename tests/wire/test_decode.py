"""Requests are read as Go's encoding/json reads them, down to the text of its errors."""

import json

import pytest

from ollmlx.errors import BadRequest, Malformed
from ollmlx.settings import FOREVER
from ollmlx.wire.anthropic import MessagesRequest
from ollmlx.wire.decode import decode, parse_whole
from ollmlx.wire.native import ChatRequest, CreateRequest, GenerateRequest, Message
from ollmlx.wire.openai import ChatCompletionRequest, CompletionRequest, EmbedRequest
from ollmlx.wire.responses import ResponsesRequest

_MISTAKEN = "json: cannot unmarshal {} into Go struct field GenerateRequest.{} of type {}"


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
        (r'{"a":"\x"}', "invalid character 'x' in string escape code"),
        (r'{"a":"\u12g4"}', r"invalid character 'g' in \u hexadecimal character escape"),
        (r'{"a":"\u12', "unexpected EOF"),
        ('{"a":5.}', "invalid character '}' after decimal point in numeric literal"),
        ('{"a":5e}', "invalid character '}' in exponent of numeric literal"),
        ('{"a":-Infinity}', "invalid character 'I' in numeric literal"),
        ('{"a":01}', "invalid character '1' after object key:value pair"),
        ('{"a":{]}', "invalid character ']' looking for beginning of object key string"),
        ('{"a":[1}', "invalid character '}' after array element"),
        ("\ufeff{}", "invalid character 'ï' looking for beginning of value"),
        ("\v{}", r"invalid character '\v' looking for beginning of value"),
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
        ('{"context":[1e1]}', _MISTAKEN.format("number 1e1", "context", "int")),
        ('{"images":[5]}', _MISTAKEN.format("number", "images", "api.ImageData")),
        ('{"images":"x"}', _MISTAKEN.format("string", "images", "[]api.ImageData")),
        ('{"model":5,"prompt":true}', _MISTAKEN.format("number", "model", "string")),
        ('{"model":5,"keep_alive":"x"}', 'time: invalid duration "x"'),
        ('{"keep_alive":"99999999h"}', 'time: invalid duration "99999999h"'),
        ('{"keep_alive":"∞"}', r'time: invalid duration "\xe2\x88\x9e"'),
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
        ('{"images":["aGk"]}', "illegal base64 data at input byte 0"),
        ('{"images":["===="]}', "illegal base64 data at input byte 0"),
        ('{"images":["aGk=x"]}', "illegal base64 data at input byte 4"),
        ('{"images":["aGkx="]}', "illegal base64 data at input byte 4"),
        ('{"images":["aG=k"]}', "illegal base64 data at input byte 2"),
        ('{"images":["aG="]}', "illegal base64 data at input byte 3"),
        ("[" * 200_000, "invalid character '[' exceeded max depth"),
    ],
)
def test_what_cannot_be_read_is_refused_in_gos_words(body, text):
    with pytest.raises(BadRequest) as refusal:
        decode(body.encode(), GenerateRequest)
    assert str(refusal.value) == text


def test_what_no_float32_can_hold_is_refused_as_it_was_written():
    text = "cannot unmarshal number 3.5e38 into .* CompletionRequest.top_p of type float32"
    with pytest.raises(BadRequest, match=text):
        decode(b'{"top_p":3.5e38}', CompletionRequest)
    assert decode(b'{"top_p":3.4e38}', CompletionRequest).top_p == 3.4e38


@pytest.mark.parametrize(
    ("kind", "body", "field", "name"),
    [
        (EmbedRequest, {"model": 5}, "EmbedRequest.model", "string"),
        (
            ChatCompletionRequest,
            {"messages": 5},
            "ChatCompletionRequest.messages",
            "[]openai.Message",
        ),
        (
            ChatCompletionRequest,
            {"messages": [{"tool_calls": [{"function": {"arguments": 5}}]}]},
            ".messages.tool_calls.function.arguments",
            "string",
        ),
        (CompletionRequest, {"temperature": []}, "CompletionRequest.temperature", "float32"),
        (ResponsesRequest, {"tools": 5}, "ResponsesRequest.tools", "[]openai.ResponsesTool"),
        (
            ResponsesRequest,
            {"text": {"format": 5}},
            "ResponsesText.text.format",
            "openai.ResponsesTextFormat",
        ),
        (
            MessagesRequest,
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "MessagesRequest.messages.text",
            "string",
        ),
        (
            MessagesRequest,
            {"messages": [{"role": "user", "content": 5}]},
            "MessagesRequest.messages",
            "[]anthropic.ContentBlock",
        ),
        (
            MessagesRequest,
            {"messages": [5]},
            "MessagesRequest.messages",
            r'struct { Role string "json:\"role\""; Content json.RawMessage "json:\"content\"" }',
        ),
        (MessagesRequest, {"metadata": 5}, "MessagesRequest.metadata", "anthropic.Metadata"),
        (
            ChatRequest,
            {"tools": [{"function": {"parameters": 5}}]},
            "ToolFunction.tools.function.parameters",
            "api.ToolFunctionParameters",
        ),
        (ChatRequest, {"tools": 5}, "ChatRequest.tools", "api.Tools"),
        (ChatRequest, {"messages": 5}, "ChatRequest.messages", "[]api.Message"),
        (ChatRequest, {"messages": [5]}, "ChatRequest.messages", "api.Alias"),
        (
            ChatRequest,
            {"messages": [{"tool_calls": [{"function": {"index": "x"}}]}]},
            "ChatRequest.messages.tool_calls.function.index",
            "int",
        ),
        (
            ChatRequest,
            {"tools": [{"function": {"parameters": {"properties": {"a": {"type": 5}}}}}]},
            "ToolFunctionParameters.tools.function.parameters.properties.type",
            "[]string",
        ),
        (CreateRequest, {"files": 5}, "CreateRequest.files", "map[string]string"),
        (CreateRequest, {"files": {"a": 5}}, "CreateRequest.files", "string"),
    ],
)
def test_types_have_the_names_and_places_that_ollama_gives_them(kind, body, field, name):
    with pytest.raises(Malformed) as refusal:
        decode(json.dumps(body).encode(), kind)
    assert str(refusal.value).endswith(f" into Go struct field {field} of type {name}")


def test_arguments_of_a_call_are_an_object():
    body = {"messages": [{"tool_calls": [{"function": {"arguments": "{}"}}]}]}
    with pytest.raises(Malformed, match="Value looks like object, but can't find closing '}'"):
        decode(json.dumps(body).encode(), ChatRequest)


@pytest.mark.parametrize("text", ["", "aGk=", "aGk=\n", "\r\naGk=", "aG\nk\r=", "aGkx"])
def test_base64_may_be_broken_into_lines(text):
    assert decode(json.dumps({"images": [text]}).encode(), GenerateRequest).images == [text]


def test_null_in_a_list_is_an_empty_value():
    assert decode(b'{"messages": [null]}', ChatRequest).messages == [Message()]
    assert decode(b'{"stop_sequences": [null]}', MessagesRequest).stop_sequences == [""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected end of JSON input"),
        ('{"a":', "unexpected end of JSON input"),
        ("{} x", "invalid character 'x' after top-level value"),
    ],
)
def test_a_text_that_is_more_or_less_than_one_value_is_refused(text, message):
    with pytest.raises(Malformed) as refusal:
        parse_whole(text)
    assert str(refusal.value) == message
    assert parse_whole(' {"a": 1}\n') == {"a": 1}


def test_names_match_in_any_case_and_the_last_one_wins():
    assert decode(b'{"MODEL":"a","prompt":"p","Prompt":"q"} rest', GenerateRequest).prompt == "q"
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
