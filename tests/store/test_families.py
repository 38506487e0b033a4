import pytest

from ollmlx.prompt.conversation import Conversation
from ollmlx.prompt.render import GoTemplate
from ollmlx.store.families import FAMILIES, detected, stop_texts
from ollmlx.wire.native import Message
from tests.store.shelf import CHATML

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello!"),
    Message("user", "Bye"),
)
WRITTEN = {
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "llama3-instruct": (
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "gemma-instruct": (
        "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!"
        "<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    ),
    "llama2-chat": (
        "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]"
    ),
    "mistral-instruct": "[INST] Be brief.\n\nHi [/INST] Hello!</s>[INST] Bye [/INST]",
    "vicuna": "USER: Be brief.\n\nHi\nASSISTANT: Hello!\nUSER: Bye\nASSISTANT:",
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_writes_every_turn_once_and_opens_an_answer(family) -> None:
    text = GoTemplate(family.template).render(Conversation(TALK))
    assert [text.count(message.content) for message in TALK] == [1, 1, 1, 1]
    assert text.endswith(family.opening)
    assert text == WRITTEN.get(family.name, text)


def test_a_family_is_known_by_its_markers() -> None:
    found = detected(CHATML)
    assert found is not None
    assert found.name == "chatml"
    assert found.stops == ("<|im_start|>", "<|im_end|>")


@pytest.mark.parametrize("more", ["{% if tools %}x{% endif %}", "<think></think>", "x" * 5000])
def test_a_template_that_does_more_is_left_alone(more: str) -> None:
    assert detected(CHATML + more) is None


def test_stops_that_answers_may_contain_are_for_models_made_on_purpose() -> None:
    jinja = "{% for m in messages %}USER: {{ m.content }} ASSISTANT:{% endfor %}"
    found = detected(jinja)
    assert found is not None
    assert found.name == "vicuna"
    assert stop_texts(jinja) == []
