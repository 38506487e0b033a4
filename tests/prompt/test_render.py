"""Conversations as prompts: by Go templates as Ollama makes them, by Jinja as transformers does.

`templates/go_prompts.json` was written by Go's own engine over values shaped like Ollama's.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.prompt.conversation import shown
from ollmlx.prompt.render import Conversation, GoTemplate, JinjaTemplate, choose
from ollmlx.wire.decode import decode
from ollmlx.wire.native import ChatRequest, Message, ToolCall, ToolCallFunction
from tests.prompt import jinjas

TEMPLATES = Path(__file__).parent / "templates"
GOLDEN = json.loads((TEMPLATES / "go_prompts.json").read_text())
CASES = [(name, chat) for name, prompts in GOLDEN["prompts"].items() for chat in prompts]
WEATHER = GOLDEN["chats"]["tools offered"]["tools"][0]


def go(name: str) -> GoTemplate:
    return GoTemplate((TEMPLATES / f"{name}.gotmpl").read_text().removesuffix("\n"))


def chat(*turns: tuple[str, str], **others: Any) -> Conversation:
    return Conversation([Message(role, content) for role, content in turns], **others)


def called(name: str = "get_weather", **arguments: Any) -> Message:
    return Message("assistant", tool_calls=[ToolCall(ToolCallFunction(name, arguments))])


HISTORY = chat(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Why?"))
ROUND_TRIP = Conversation(
    [
        Message("user", "Weather?"),
        called(city="Paris", days=3),
        Message("tool", "22", tool_name="get_weather"),
    ],
    tools=[WEATHER],
)


@pytest.mark.parametrize(("name", "which"), CASES)
def test_a_go_template_makes_the_prompt_that_go_makes(name: str, which: str) -> None:
    given = GOLDEN["chats"][which]
    conversation = Conversation(
        messages=msgspec.convert(given["messages"], list[Message]),
        tools=given.get("tools", []),
        think=given.get("think"),
    )
    assert go(name).render(conversation) == GOLDEN["prompts"][name][which]


def test_an_old_template_runs_once_a_turn_and_ends_where_the_answer_goes() -> None:
    assert go("phi3").render(HISTORY) == (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>"
        "<|user|>\nWhy?<|end|>\n<|assistant|>\n"
    )


def test_an_old_template_continues_an_answer_that_has_begun() -> None:
    prompt = go("gemma").render(chat(("user", "Count"), ("assistant", "One,")))
    assert prompt.endswith("<start_of_turn>user\nCount<end_of_turn>\n<start_of_turn>model\nOne,")


def test_an_old_template_passes_over_roles_it_cannot_show() -> None:
    prompt = go("llama3").render(chat(("user", "a"), ("tool", "lost"), ("wizard", "lost")))
    assert "lost" not in prompt
    assert prompt.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")


def test_an_old_template_ends_at_the_response_inside_a_branch() -> None:
    template = GoTemplate("{{ if .Prompt }}U{{ .Prompt }}A{{ .Response }}end{{ end }}tail")
    assert template.render(chat(("user", "x"))) == "UxA"


def test_a_template_without_messages_or_response_gets_the_response_at_its_end() -> None:
    template = GoTemplate("Q: {{ .Prompt }}\nA: ")
    history = chat(("user", "1"), ("assistant", "one\n"), ("user", "2"))
    assert template.render(history) == "Q: 1\nA: one\nQ: 2\nA: "


def test_a_suffix_goes_to_the_template_with_the_prompt_and_nothing_else() -> None:
    template = GoTemplate(
        "{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ else }}no{{ end }}"
    )
    assert template.render(Conversation(prompt="def f(", suffix="return 1")) == (
        "<P>def f(<S>return 1<M>"
    )


def test_without_any_template_the_prompt_is_the_message() -> None:
    assert choose("", "", "", "", None).render(chat(("user", "hello"))) == "hello"


def test_thinking_tags_are_read_out_of_the_template() -> None:
    assert go("qwen3").thinking == ("<think>", "</think>")
    assert go("deepseek-r1").thinking == ("<think>", "</think>")
    assert go("qwen2.5").thinking is None


def test_the_tag_of_tool_calls_is_read_out_of_the_template() -> None:
    assert go("qwen2.5").tool_tag == "<tool_call>"
    assert go("mistral").tool_tag == "[TOOL_CALLS] ["
    assert go("llama3.2").tool_tag == "{"
    assert go("phi3").tool_tag == "{"


def test_a_role_that_chatml_does_not_know_is_rendered_like_the_others() -> None:
    prompt = JinjaTemplate(jinjas.TEXTS["smollm2"]).render(chat(("system", "s"), ("wizard", "w")))
    assert "<|im_start|>wizard\nw<|im_end|>\n" in prompt


@pytest.mark.parametrize("name", jinjas.WITH_TOOLS)
def test_a_jinja_template_takes_tools_and_calls_in_the_shapes_it_knows(name: str) -> None:
    prompt = JinjaTemplate(jinjas.TEXTS[name], "<s>", "</s>").render(ROUND_TRIP)
    for text in ("get_weather", '"city"', '"Paris"', "22"):
        assert text in prompt


def test_text_and_image_of_one_user_are_one_turn_where_roles_must_alternate() -> None:
    template = JinjaTemplate(jinjas.TEXTS["gemma"], "<bos>")
    parts = [Message("user", "what?"), Message("user", "[img-0]", images=["AA=="])]
    assert "what?\n\n[img-0]<end_of_turn>" in template.render(Conversation(messages=parts))


def test_a_jinja_template_that_refuses_the_conversation_says_why() -> None:
    template = JinjaTemplate(jinjas.TEXTS["gemma"], "<bos>")
    with pytest.raises(BadRequest, match=r"^Conversation roles must alternate"):
        template.render(chat(("user", "a"), ("user", "b")))


def test_a_system_message_goes_into_the_first_turn_where_the_template_knows_none() -> None:
    prompt = JinjaTemplate(jinjas.TEXTS["gemma"], "<bos>").render(
        chat(("system", "S"), ("user", "U"))
    )
    assert prompt == "<bos><start_of_turn>user\nS\nU<end_of_turn>\n<start_of_turn>model\n"


def test_a_jinja_template_continues_an_answer_that_has_begun() -> None:
    prompt = JinjaTemplate(jinjas.TEXTS["smollm2"]).render(
        chat(("user", "Count"), ("assistant", "One,"))
    )
    assert prompt.endswith("<|im_start|>assistant\nOne,")


def test_a_begun_answer_keeps_its_thoughts() -> None:
    begun = Message("assistant", "So", thinking="Hm")
    prompt = JinjaTemplate(jinjas.TEXTS["qwen3"]).render(
        Conversation([Message("user", "Q"), begun], think=True)
    )
    assert prompt.endswith("<|im_start|>assistant\n<think>\nHm\n</think>\n\nSo")


def test_qwen_is_told_whether_to_think() -> None:
    template = JinjaTemplate(jinjas.TEXTS["qwen3"])
    assert template.render(chat(("user", "Q"), think=False)).endswith("<think>\n\n</think>\n\n")
    assert template.render(chat(("user", "Q"), think=True)).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% if %}", "invalid chat template: .*line 1"),
        ("{{ messages[0].a.b }}", "chat template: .*has no attribute 'a'"),
        ("{{ messages[0].role + 3 }}", "chat template: can only concatenate"),
        ("{{ ''.__class__.__mro__ }}", "chat template: .*unsafe"),
        ("{{ 1 // 0 }}", "chat template: .*zero"),
    ],
)
def test_a_broken_jinja_template_is_an_error_of_the_server(text: str, says: str) -> None:
    with pytest.raises(OllmlxError, match=says) as failure:
        JinjaTemplate(text).render(chat(("user", "x")))
    assert failure.value.status == 500


def test_arguments_nested_without_end_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"a": deep}
    for template in (go("qwen2.5"), JinjaTemplate(jinjas.TEXTS["qwen2.5"])):
        with pytest.raises(BadRequest, match="exceeded max depth"):
            template.render(Conversation([Message("user", "x"), called(**deep)], tools=[WEATHER]))


GO_TOOLS = (TEMPLATES / "qwen2.5.gotmpl").read_text()
GO_PLAIN = "{{ .Prompt }}"


@pytest.mark.parametrize(
    ("go_text", "jinja", "forced", "kind"),
    [
        ("", "", None, GoTemplate),
        (GO_PLAIN, "", None, GoTemplate),
        (GO_PLAIN, "", False, GoTemplate),
        ("", jinjas.TEXTS["smollm2"], None, JinjaTemplate),
        ("", jinjas.TEXTS["smollm2"], True, JinjaTemplate),
        (GO_PLAIN, jinjas.TEXTS["smollm2"], None, GoTemplate),
        (GO_PLAIN, jinjas.TEXTS["qwen2.5"], None, JinjaTemplate),
        (GO_PLAIN, jinjas.TEXTS["qwen2.5"], True, GoTemplate),
        (GO_TOOLS, jinjas.TEXTS["qwen2.5"], None, GoTemplate),
        (GO_TOOLS, jinjas.TEXTS["qwen2.5"], False, JinjaTemplate),
        (GO_TOOLS, jinjas.TEXTS["qwen3"], None, JinjaTemplate),
    ],
)
def test_the_richer_template_is_chosen_unless_one_is_forced(
    go_text: str, jinja: str, forced: bool | None, kind: type
) -> None:
    assert isinstance(choose(go_text, jinja, "", "", forced), kind)


def test_templates_see_what_ollama_keeps_of_a_tool() -> None:
    properties = {"n": {"type": "integer", "minimum": 3}}
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}},
        {"type": "function", "function": {"name": "g", "parameters": {"properties": {}}}},
        {"type": "function", "function": {"name": "h"}},
    ]
    request = decode(json.dumps({"tools": tools}).encode(), ChatRequest)
    f, g, h = (tool["function"].get("parameters") for tool in shown(request.tools))
    assert f == {"properties": {"n": {"type": "integer"}}}
    assert g == {"properties": {}}
    assert not h


TYPED = {
    "SmolVLM": (
        "{% for message in messages %}{{ message['role'] | capitalize }}"
        "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
        "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
        "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end>\n"
        "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    ),
    "LLaVA": (
        "{% for message in messages %}{{ message['role'] | capitalize + ': ' }}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
        "{{ '<image>\n' }}{% endfor %}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
        "{{ content['text'] }}{% endfor %}<end>\n"
        "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    ),
}


@pytest.mark.parametrize("name", TYPED)
def test_a_template_that_knows_only_typed_parts_is_told_the_text_so(name: str) -> None:
    turns = chat(("user", "[img-0]Hi"), ("assistant", "Hello!"), ("user", "Why?"))
    assert JinjaTemplate(TYPED[name]).render(turns) == (
        "User: [img-0]Hi<end>\nAssistant: Hello!<end>\nUser: Why?<end>\nAssistant:"
    )
