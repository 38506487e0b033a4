"""A whole reply: thoughts, content and calls together."""

from pathlib import Path
from typing import Any

import pytest

from ollmlx.errors import OllmlxError
from ollmlx.prompt.render import GoTemplate, JinjaTemplate, Template
from ollmlx.prompt.reply import Parts, ReplyParser
from tests.prompt import jinjas
from tests.prompt.pieces import cuts

TOOLS: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
GO = (Path(__file__).parent / "templates/qwen3.gotmpl").read_text()
TEMPLATES: list[Template] = [GoTemplate(GO), JinjaTemplate(jinjas.TEXTS["qwen3"])]
HARMONY = JinjaTemplate("<|start|>{{ messages[0].content }}<|channel|>")


def whole(parser: ReplyParser, pieces: list[str]) -> Parts:
    parts = Parts()
    for piece in pieces:
        parts += parser.push(piece)
    return parts + parser.finish()


@pytest.mark.parametrize("template", TEMPLATES)
def test_thoughts_then_content_then_calls(template: Template) -> None:
    for pieces in cuts(f"<think>\nHm, {CALL}</think>\n\nI call {CALL}"):
        parts = whole(ReplyParser(template, TOOLS, True), pieces)
        assert parts.thinking == f"Hm, {CALL}"
        assert parts.content.rstrip() == "I call"
        assert [(c.name, c.arguments) for c in parts.tool_calls] == [("f", {"x": 1})]


@pytest.mark.parametrize("template", TEMPLATES)
def test_without_thinking_and_tools_nothing_is_touched(template: Template) -> None:
    text = f" <think>a</think> {CALL}\n"
    for think in (None, False):
        for pieces in cuts(text):
            assert whole(ReplyParser(template, [], think), pieces) == Parts(text)


@pytest.mark.parametrize("template", TEMPLATES)
def test_thoughts_that_the_prompt_has_opened_need_no_tag(template: Template) -> None:
    parser = ReplyParser(template, [], "high", "<|im_start|>assistant\n<think>\n")
    assert parser.thinking
    assert parser.closing == "</think>"
    assert parser.push("Hm</think>\nSo") == Parts("So", "Hm")
    assert not parser.thinking


def test_a_plain_parser_takes_all_for_content() -> None:
    parser = ReplyParser.plain()
    assert parser.push("<think>") == Parts("<think>")
    assert not parser.finish()
    assert not parser.thinking


def test_calls_in_an_answer_have_ids_and_numbers() -> None:
    parts = whole(ReplyParser(TEMPLATES[1], TOOLS), [CALL + CALL])
    first, second = parts.reply_calls(3)
    assert (first.function.index, second.function.index) == (3, 4)
    assert first.id != second.id
    assert len(first.id) == len("call_12345678")


def test_the_channels_of_gpt_oss_are_thoughts_calls_and_answer() -> None:
    text = (
        "<|channel|>analysis<|message|>Hm <b><|end|><|start|>assistant<|channel|>commentary"
        ' to=functions.f <|constrain|>json<|message|>{"x": 1}<|call|><|start|>assistant'
        "<|channel|>final<|message|>So <|be it"
    )
    for pieces in cuts(text):
        parts = whole(ReplyParser(HARMONY, TOOLS, "low"), pieces)
        assert (parts.thinking, parts.content) == ("Hm <b>", "So <|be it")
        assert [(c.name, c.arguments) for c in parts.tool_calls] == [("f", {"x": 1})]


def test_a_call_of_gpt_oss_that_cannot_be_read_is_an_error() -> None:
    parser = ReplyParser(HARMONY, TOOLS)
    with pytest.raises(OllmlxError, match=r"^error parsing tool call: raw='\{x', err="):
        parser.push("<|channel|>commentary to=functions.f<|message|>{x<|call|>")
