"""Jinja templates make the prompts that transformers makes of the same conversation."""

from typing import Any

import jinja2
import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from ollmlx.errors import OllmlxError
from ollmlx.prompt.render import Conversation, JinjaTemplate
from ollmlx.wire.native import Message, ToolCall, ToolCallFunction
from tests.prompt import jinjas

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'Get <b> "quoted" & é',
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C"]}},
            "required": ["city"],
        },
    },
}
CALL = ToolCall(ToolCallFunction("get_weather", {"city": "Paris é<", "days": 3}), "call_1")
CALLED = Message("assistant", tool_calls=[CALL])
RESULT = Message("tool", "22°", tool_name="get_weather", tool_call_id="call_1")


def chat(*turns: tuple[str, str], **others: Any) -> Conversation:
    return Conversation([Message(role, content) for role, content in turns], **others)


CHATS = {
    "a user": chat(("user", "Hi <&> é 😀")),
    "nothing said": chat(("user", "")),
    "white space": chat(("user", "  A\n\n"), ("assistant", "\n B "), ("user", "C ")),
    "a system message": chat(("system", "Be brief."), ("user", "Hi")),
    "several turns": chat(
        ("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C"), think=True
    ),
    "two users": chat(("user", "A"), ("user", "B")),
    "thoughts": Conversation(
        [Message("user", "A"), Message("assistant", "B", "hm"), Message("user", "C")], think=True
    ),
    "no thoughts": chat(("user", "A"), think=False),
    "a level": chat(("user", "A"), think="high"),
    "tools": chat(("system", "S"), ("user", "A"), tools=[WEATHER]),
    "a round trip": Conversation([Message("user", "A"), CALLED, RESULT], [WEATHER]),
    "after a call": Conversation(
        [Message("user", "A"), CALLED, RESULT, Message("assistant", "B"), Message("user", "C")],
        [WEATHER],
        think=True,
    ),
}


def made_there(template: str, conversation: Conversation) -> str | None:
    """None where the template refuses the conversation in its plain form."""
    think, switches = conversation.think, dict[str, Any]()
    if think is not None:
        switches = {"enable_thinking": bool(think), "thinking": bool(think)}
        switches["thinking_mode"] = "enabled" if think else "disabled"
        if "no_think" in template:
            switches["reasoning_effort"] = "high" if think else "no_think"
    if isinstance(think, str):
        switches |= {"reasoning_effort": think, "thinking_effort": think}
    try:
        prompts, _ = render_jinja_template(
            [[plainly(message) for message in conversation.messages]],
            tools=list(conversation.tools) or None,
            chat_template=template,
            add_generation_prompt=True,
            bos_token="<s>",
            eos_token="</s>",
            **switches,
        )
    except (jinja2.TemplateError, TypeError):
        return None
    return str(prompts[0])


def plainly(message: Message) -> dict[str, Any]:
    shaped: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        shaped |= {"reasoning_content": message.thinking, "thinking": message.thinking}
    if message.tool_calls:
        shaped["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        shaped |= {"name": message.tool_name, "tool_call_id": message.tool_call_id}
    return shaped


@pytest.mark.parametrize("which", CHATS)
@pytest.mark.parametrize("name", jinjas.NAMES)
def test_a_prompt_is_that_of_transformers(name: str, which: str) -> None:
    template, conversation = jinjas.TEXTS[name], CHATS[which]
    try:
        ours = JinjaTemplate(template, "<s>", "</s>").render(conversation)
    except OllmlxError:
        assert made_there(template, conversation) is None
        return
    theirs = made_there(template, conversation)
    # What a template refuses in its plain form, we hand over in another.
    assert ours == (ours if theirs is None else theirs)
