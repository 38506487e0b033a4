"""What the grammars of calls allow is what the parsers of calls read, in every syntax."""

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from ollmlx.engine import formats, grammar
from ollmlx.engine.grammar import Matcher
from ollmlx.errors import BadRequest
from ollmlx.prompt import callgrammar, toolcalls
from ollmlx.prompt.callgrammar import Demand
from ollmlx.prompt.callsyntax import SYNTAXES
from ollmlx.prompt.harmony import HarmonyParser
from ollmlx.prompt.lark import Terms
from tests.engine.bytewise import BYTES, accepted

TERMS = Terms(grammar.tag, formats.json_rule, grammar.until)


def tool(name: str, required: list[str], **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    tool(
        "get_weather",
        ["city"],
        city={"enum": ["Rio", "Oslo"]},
        days={"type": "integer", "minimum": 1, "maximum": 30},
        hourly={"type": "boolean"},
        at={"type": "array", "items": {"enum": [1, 2]}, "maxItems": 2},
    ),
    tool("ring", []),
]
TALK = [tool("say", ["text"], text={"type": "string"}, to={"type": "string", "maxLength": 3})]
TEMPLATES = {syntax.name: " ".join(syntax.signs) for syntax in SYNTAXES}
UNTAGGED = {"{": '"parameters"', "[": "", "<call>": "", "<tool_call>": ""}
ALL = [*((t, "") for t in TEMPLATES.values()), *((source, tag) for tag, source in UNTAGGED.items())]
IDS = [*TEMPLATES, *UNTAGGED]
every_syntax = pytest.mark.parametrize(("source", "tag"), ALL, ids=IDS)


def matcher(demand: Demand, source: str, tag: str, tools: list[dict[str, Any]]) -> Matcher:
    syntax = toolcalls.syntax_of(source, tag)
    return Matcher(BYTES, callgrammar.grammar(demand, syntax, tools, TERMS), BYTES.vocab_size)


def walk(matcher: Matcher, dice: random.Random) -> str:
    """A random text of the grammar."""
    written = bytearray()
    while not matcher.finished:
        allowed = [int(token) for token in np.flatnonzero(matcher.allowed())]
        token = dice.choice(allowed)
        if token == BYTES.eos_token:
            break
        matcher.consume(token)
        written.append(token)
    return written.decode()


def calls_in(source: str, tag: str, tools: list[dict[str, Any]], text: str) -> list[Any]:
    parser = toolcalls.find(source, tag, tools)
    content, calls = parser.push(text)
    more, last = parser.finish()
    assert (content + more).strip() == ""
    return [(call.name, call.arguments) for call in [*calls, *last]]


def check(name: str, arguments: dict[str, Any]) -> None:
    if name == "ring":
        assert arguments == {}
        return
    assert name == "get_weather"
    assert arguments["city"] in ("Rio", "Oslo")
    assert arguments.get("days", 1) in range(1, 31)
    assert isinstance(arguments.get("hourly", True), bool)
    assert set(arguments.get("at", [])) <= {1, 2}


@every_syntax
def test_whatever_the_grammar_writes_is_read_as_calls_that_fit(source: str, tag: str) -> None:
    for seed in range(12):
        text = walk(matcher(Demand("required"), source, tag, TOOLS), random.Random(seed))
        calls = calls_in(source, tag, TOOLS, text)
        assert calls, text
        for name, arguments in calls:
            check(name, arguments)


@every_syntax
def test_a_call_is_the_same_wherever_its_text_is_cut(source: str, tag: str) -> None:
    text = walk(matcher(Demand("required"), source, tag, TOOLS), random.Random(1))
    whole = calls_in(source, tag, TOOLS, text)
    for at in range(1, len(text)):
        parser = toolcalls.find(source, tag, TOOLS)
        parts = [parser.push(text[:at]), parser.push(text[at:]), parser.finish()]
        assert [(call.name, call.arguments) for _, calls in parts for call in calls] == whole


@every_syntax
def test_a_spoiled_call_is_read_or_refused_and_never_breaks_the_reader(
    source: str, tag: str
) -> None:
    read = toolcalls.syntax_of(source, tag).read
    for seed in range(30):
        dice = random.Random(seed)
        text = walk(matcher(Demand("required"), source, tag, TOOLS), dice)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(text) + 1)
            text = (
                text[:at]
                + dice.choice(["", "[", "}", '"', "<", ">", "5", "é", "=", ":"])
                + (text[at + dice.randint(0, 3) :])
            )
        with suppress(ValueError):
            for name, arguments in read(text, TOOLS):
                assert isinstance(name, str)
                assert isinstance(arguments, dict)


@every_syntax
def test_a_named_tool_is_called_and_no_other_and_once_where_calls_are_single(
    source: str, tag: str
) -> None:
    demand = Demand("required", "ring", parallel=False)
    for seed in range(4):
        text = walk(matcher(demand, source, tag, TOOLS), random.Random(seed))
        assert calls_in(source, tag, TOOLS, text) == [("ring", {})]


WRITTEN = {
    "hermes": '<tool_call>\n{"name": "say", "arguments": {"text": "a <b>\\n"}}\n</tool_call>',
    "qwen3-coder": "<tool_call>\n<function=say>\n<parameter=text>\na <b>\n</parameter>\n</function>"
    "\n</tool_call>",
    "glm": "<tool_call>say\n<arg_key>text</arg_key>\n<arg_value>a <b></arg_value>\n</tool_call>",
    "lfm2": '<|tool_call_start|>[say(text="a <b>")]<|tool_call_end|>',
    "gemma4": '<|tool_call>call:say{text:<|"|>a <b><|"|>}<tool_call|>',
    "functiongemma": "<start_function_call>call:say{text:<escape>a <b><escape>}<end_function_call>",
    "mistral": '[TOOL_CALLS][{"name": "say", "arguments": {"text": "a <b>"}}]',
    "mistral-named": '[TOOL_CALLS]say[ARGS]{"text": "a <b>"}',
    "minimax": '<minimax:tool_call>\n<invoke name="say">\n'
    '<parameter name="text">a <b></parameter>\n</invoke>\n</minimax:tool_call>',
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.say:0"
    '<|tool_call_argument_begin|>{"text": "a <b>"}<|tool_call_end|><|tool_calls_section_end|>',
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_models_write_is_in_their_grammar(name: str) -> None:
    written, source = WRITTEN[name], TEMPLATES[name]
    assert accepted(matcher(Demand("required"), source, "", TALK), written)
    ((called, arguments),) = calls_in(source, "", TALK, written)
    assert called == "say"
    assert arguments["text"].startswith("a <b>")


@pytest.mark.parametrize("name", WRITTEN)
def test_without_a_choice_a_single_call_may_follow_content_and_none_need(name: str) -> None:
    written, source, demand = WRITTEN[name], TEMPLATES[name], Demand(parallel=False)
    assert accepted(matcher(demand, source, "", TALK), "No. {}")
    assert accepted(matcher(demand, source, "", TALK), f"Yes: {written}")
    assert not accepted(matcher(demand, source, "", TALK), f"{written}\n{written}")
    assert not accepted(matcher(demand, source, "", TALK), f"{written} more")


@every_syntax
def test_none_is_content_and_never_the_start_of_a_call(source: str, tag: str) -> None:
    syntax = toolcalls.syntax_of(source, tag)
    start = syntax.opening or '{"name'
    said = f'{syntax.answer}Well: <b>{{"a": 1}}'
    assert accepted(matcher(Demand("none"), source, tag, TOOLS), said)
    assert not accepted(matcher(Demand("none"), source, tag, TOOLS), f'{start}"')


def test_texts_are_held_to_their_lengths_and_patterns() -> None:
    held = [tool("f", ["a"], a={"type": "string", "pattern": "^[a-c/]+$", "maxLength": 3})]
    for name in ("glm", "functiongemma", "hermes"):
        source = TEMPLATES[name]
        for seed in range(5):
            text = walk(matcher(Demand("required"), source, "", held), random.Random(seed))
            for _, arguments in calls_in(source, "", held, text):
                assert set(arguments["a"]) <= set("abc/")
                assert 1 <= len(arguments["a"]) <= 3


def test_the_whole_schema_holds_and_not_only_what_templates_are_shown() -> None:
    shown = {"type": "object", "properties": {"n": {"type": "integer"}}}
    whole = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
    tools = [{"function": {"name": "f", "parameters": {**shown, "whole": whole}}}]
    text = walk(matcher(Demand("required"), TEMPLATES["hermes"], "", tools), random.Random(0))
    assert calls_in(TEMPLATES["hermes"], "", tools, text)[0] == ("f", {"n": 7})


@pytest.mark.parametrize(
    ("schema", "source", "named"),
    [
        ({"properties": {"a": {"not": {}}}}, "<tool_call>", "not"),
        ({"anyOf": [{"properties": {}}]}, "<tool_call> <arg_key>", "anyOf"),
        ({"properties": {"a": {}}}, "<start_function_call>", "any type"),
    ],
)
def test_what_a_model_cannot_be_held_to_is_refused_by_name(
    schema: dict[str, Any], source: str, named: str
) -> None:
    tools = [{"function": {"name": "f", "parameters": {"type": "object", **schema}}}]
    with pytest.raises(BadRequest, match=named):
        matcher(Demand("required"), source, "", tools)


def test_python_has_no_such_names() -> None:
    with pytest.raises(BadRequest, match="get-weather"):
        matcher(Demand("required"), TEMPLATES["lfm2"], "", [tool("get-weather", [])])


def test_harmony_writes_a_call_or_the_last_channel() -> None:
    def harmony(demand: Demand) -> Matcher:
        return Matcher(BYTES, callgrammar.harmony(demand, TOOLS, TERMS), BYTES.vocab_size)

    for seed in range(6):
        text = walk(harmony(Demand("required")), random.Random(seed))
        parser = HarmonyParser()
        content, _, calls = parser.push(text)
        more, _, last = parser.finish()
        assert content + more == ""
        (call,) = [*calls, *last]
        check(call.name, call.arguments)
    assert accepted(harmony(Demand("none")), "<|channel|>final<|message|>Hello")
    assert not accepted(harmony(Demand("none")), "<|channel|>commentary")
    assert accepted(harmony(Demand(parallel=False)), "<|channel|>final<|message|>Hello")


@pytest.mark.parametrize(
    ("choice", "tools", "named"),
    [
        ("required", [], "needs tools"),
        ({"type": "function", "function": {"name": "gone"}}, TOOLS, "gone"),
    ],
)
def test_a_choice_needs_its_tools(choice: Any, tools: list[Any], named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        Demand.of(choice, None, tools)
