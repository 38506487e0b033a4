"""Renderers and parsers by name: the prompts and the replies of Ollama's own.

`templates/go_rendered.json` was written by Ollama's `model/renderers` themselves; of most prompts
it keeps the first 16 digits of their SHA-256.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ollmlx.api import images
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.prompt.conversation import Conversation, shown
from ollmlx.prompt.named import NamedTemplate, named, resolved
from ollmlx.prompt.parsed import Parsed, parsed
from ollmlx.prompt.render import GoTemplate, Template
from ollmlx.prompt.reply import Parts, ReplyParser
from ollmlx.store.capabilities import PARSERS
from ollmlx.wire.decode import decode
from ollmlx.wire.native import ChatRequest
from tests.prompt.pieces import cuts

GOLDEN = json.loads((Path(__file__).parent / "templates/go_rendered.json").read_text())


def conversation(given: dict[str, Any]) -> Conversation:
    body = {"messages": GOLDEN["chats"][given["chat"]], "tools": GOLDEN["tools"][given["tools"]]}
    request = decode(json.dumps(body).encode(), ChatRequest)
    return Conversation(images.tagged(request.messages), shown(request.tools), given["think"])


@pytest.mark.parametrize(
    "given",
    GOLDEN["prompts"],
    ids=lambda given: "-".join(map(str, list(given.values())[:4])),
)
def test_a_prompt_is_that_of_ollamas_renderer(given: dict[str, Any]) -> None:
    template = named(given["renderer"])
    if "error" in given:
        with pytest.raises(OllmlxError, match=given["error"]):
            template.render(conversation(given))
        return
    prompt = template.render(conversation(given))
    if "text" in given:
        assert prompt == given["text"]
    else:
        assert hashlib.sha256(prompt.encode()).hexdigest()[:16] == given["sha256"]


@pytest.mark.parametrize("name", ["qwen3-vl", "x", "../named", "", "QWEN3.5"])
def test_a_renderer_that_nobody_knows_is_an_error_in_ollamas_words(name: str) -> None:
    with pytest.raises(OllmlxError, match=r'^unknown renderer "') as failure:
        NamedTemplate(name)
    assert failure.value.status == 500


def test_a_renderer_has_no_place_for_a_suffix() -> None:
    with pytest.raises(BadRequest, match="suffix"):
        named("qwen3.5").render(Conversation(prompt="a", suffix="b"))


@pytest.mark.parametrize(
    ("renderer", "model", "size", "meant"),
    [
        ("gemma4", "registry.ollama.ai/library/gemma4:e4b", "8.0B", "gemma4-small"),
        ("gemma4", "me/gemma4:31b-it", "", "gemma4-large"),
        ("gemma4", "me/mine:latest", "25.8B", "gemma4-large"),
        ("gemma4", "me/mine:latest", "8.0B", "gemma4-small"),
        ("gemma4", "me/mine:latest", "unknown", "gemma4-small"),
        ("gemma4-small", "me/mine:31b", "31B", "gemma4-small"),
        ("qwen3.5", "me/mine:31b", "31B", "qwen3.5"),
    ],
)
def test_gemma_4_is_rendered_by_its_size(renderer: str, model: str, size: str, meant: str) -> None:
    assert resolved(renderer, model, size) == meant


TOOLS: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
REPLIES = {
    "qwen3": ("", '<tool_call>\n{"name": "f", "arguments": {"x": "é"}}\n</tool_call>'),
    "qwen3.5": (
        "</think>",
        "<tool_call>\n<function=f>\n<parameter=x>\né\n</parameter>\n</function>\n</tool_call>",
    ),
    "ministral": ("", '[TOOL_CALLS]f[ARGS]{"x": "é"}'),
    "glm-4.7": (
        "</think>",
        "<tool_call>f<arg_key>x</arg_key><arg_value>é</arg_value></tool_call>",
    ),
    "gemma4": ("", '<|tool_call>call:f{x:<|"|>é<|"|>}<tool_call|>'),
    "olmo3": ("", '<function_calls>f(x="é")</function_calls>'),
    "cohere": (
        "<|END_THINKING|>",
        '<|START_ACTION|>[{"tool_name": "f", "parameters": {"x": "é"}}]<|END_ACTION|>',
    ),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_read_as_the_parser_named_reads_it(name: str) -> None:
    closing, call = REPLIES[name]
    template: Template = parsed(GoTemplate("{{ .Prompt }}"), name)
    assert isinstance(template, Parsed)
    prompt = template.thinking[0] if template.thinking and closing else ""
    for pieces in cuts(f"{'Hm' + closing if closing else ''}I call.{call}"):
        parser, parts = ReplyParser(template, TOOLS, bool(closing), prompt), Parts()
        for piece in pieces:
            parts += parser.push(piece)
        parts += parser.finish()
        assert (parts.thinking, parts.content.strip()) == ("Hm" if closing else "", "I call.")
        assert [(made.name, made.arguments) for made in parts.tool_calls] == [("f", {"x": "é"})]


def test_every_parser_that_a_model_may_name_is_known() -> None:
    plain = GoTemplate("{{ .Prompt }}")
    unknown = {name for name in PARSERS if parsed(plain, name) is plain}
    assert unknown == set()
    assert parsed(plain, "nobody's") is plain


def test_text_behind_a_call_of_mistral_is_content() -> None:
    template = parsed(GoTemplate("{{ .Prompt }}"), "ministral")
    text = '[TOOL_CALLS]f[ARGS]{"x": "}"}\nand [TOOL_CALLS]f[ARGS]{"x": "b"} end'
    parser = ReplyParser(template, TOOLS)
    parts = parser.push(text) + parser.finish()
    assert [made.arguments for made in parts.tool_calls] == [{"x": "}"}, {"x": "b"}]
    assert parts.content.split() == ["and", "end"]


def test_glimmer_thinks_to_itself_and_answers_the_user() -> None:
    template = parsed(GoTemplate("{{ .Prompt }}"), "glimmer")
    call = (
        '<atem:function_calls>\n<atem:invoke name="f">\n<atem:parameter name="x">é < b'
        "</atem:parameter>\n</atem:invoke>\n</atem:function_calls>"
    )
    text = (
        " to=self<|message|>Hm <|é<|eom|><|start|>assistant to=user<|message|>I call.<|eom|>"
        f"<|start|>assistant to=f<|message|>{call}<|eot|>"
    )
    for pieces in cuts(text):
        parser, parts = ReplyParser(template, TOOLS, True, "<|start|>assistant"), Parts()
        for piece in pieces:
            parts += parser.push(piece)
        parts += parser.finish()
        assert (parts.thinking, parts.content) == ("Hm <|é", "I call.")
        assert [made.arguments for made in parts.tool_calls] == [{"x": "é < b"}]
    forced = ReplyParser(template, TOOLS, None, "<|start|>assistant")
    assert (forced.push(call) + forced.finish()).tool_calls
    plain = ReplyParser(template, (), True, "<|start|>assistant")
    thought = plain.push(" to=self<|message|>Hm")
    assert thought == Parts("", "Hm")
    begun, _ = plain.answer(" to=self<|message|>Hm", plain=True)
    assert begun == " to=self<|message|>Hm<|eom|><|start|>assistant to=user<|message|>"
