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


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    ("prompt", "written", "kept"),
    [
        ("<think>\n", "Hm</think>\n\nSo", "Hm</think>\n\n"),
        ("<think>\n", "Hm</think>So", "Hm</think>\n\n"),
        ("<think>\n", "Hm. \n", "Hm.\n</think>\n\n"),
        ("<think>\n", "Hm</th", "Hm\n</think>\n\n"),
        ("<think>\n", "", "\n</think>\n\n"),
        ("", "<think>Hm", "<think>Hm\n</think>\n\n"),
        ("", " <thi", "<think>\n</think>\n\n"),
        ("", "", "<think>\n</think>\n\n"),
        ("", "So.", ""),
    ],
)
def test_an_answer_alone_begins_behind_closed_thoughts(
    template: Template, prompt: str, written: str, kept: str
) -> None:
    parser = ReplyParser(template, TOOLS, "high", prompt)
    parser.push(written)
    begun, then = parser.answer(written, plain=False)
    assert begun == kept
    assert not then.thinking
    assert whole(then, [CALL]).tool_calls
    _, plain = parser.answer(written, plain=True)
    assert whole(plain, [CALL]) == Parts(CALL)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("", ""),
        ("<|channel|>final<|message|>So", ""),
        (
            "<|channel|>analysis<|message|>Hm<|e",
            "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant",
        ),
        (
            "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>S",
            "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant",
        ),
    ],
)
def test_gpt_oss_ends_its_channel_of_thoughts(written: str, kept: str) -> None:
    parser = ReplyParser(HARMONY, TOOLS, "low")
    assert parser.thinking
    parser.push(written)
    assert parser.thinking == ("final" not in written)
    assert parser.answer(written, plain=False)[0] == kept
    assert parser.answer(written, plain=True)[0] == f"{kept}<|channel|>final<|message|>"


def test_a_channel_that_the_prompt_has_begun_goes_on() -> None:
    prompt = "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>final<|message|>So"
    assert whole(ReplyParser(HARMONY, (), "low", prompt), [" be", " it"]) == Parts(" be it")
