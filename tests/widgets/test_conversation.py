"""Conversations as values, and the pace at which they travel."""

import asyncio

import pytest

from ollmlx.widgets.conversation import Conversation, Reply, Turn
from ollmlx.widgets.pacing import Pacing


@pytest.fixture
def conversation() -> Conversation:
    first = Turn("Hi", replies=[Reply("a", "Hello", done_reason="stop"), Reply("b", "Hey")])
    second = Turn("Look", ["aGk="], [Reply("a", "A cat", done_reason="stopped")])
    return Conversation("Be brief", [first, second])


def test_each_side_remembers_what_its_own_model_said(conversation: Conversation):
    said = [m["content"] for m in conversation.messages(0)]
    assert said == ["Be brief", "Hi", "Hello", "Look", "A cat"]
    assert conversation.messages(1)[2] == {"role": "assistant", "content": "Hey"}
    assert conversation.messages(1)[-1]["content"] == "A cat"  # the second was not asked
    assert conversation.messages()[3] == {"role": "user", "content": "Look", "images": ["aGk="]}


def test_what_was_cleared_is_there_until_something_else_is_said(conversation: Conversation):
    turns = conversation.turns
    conversation.clear()
    conversation.clear()
    assert conversation.messages() == [{"role": "system", "content": "Be brief"}]
    conversation.restore()
    assert conversation.turns == turns
    conversation.clear()
    conversation.say(Turn("New"))
    conversation.restore()
    assert conversation.turns == [Turn("New")]


def test_as_markdown_it_reads_without_ollmlx(conversation: Conversation):
    assert conversation.markdown() == (
        "**System prompt**\n\nBe brief\n\n> Hi\n\n**a**\n\nHello\n\n**b**\n\nHey\n\n"
        "> Look *(1 image)*\n\n**a**\n\nA cat\n\n*(stopped)*"
    )


def test_an_error_is_part_of_what_is_kept():
    turn = Turn("Hi", replies=[Reply("a", error="model 'a' not found")])
    assert Conversation(turns=[turn]).markdown().endswith("**a**\n\n*model 'a' not found*")
    turn = Turn("Hi", replies=[Reply("a", "Well", error="the answer broke off")])
    assert Conversation(turns=[turn]).markdown().endswith("Well\n\n*the answer broke off*")


def test_a_question_without_an_answer_is_not_asked_along_with_the_next():
    failed = Turn("Hi", replies=[Reply("a", error="model 'a' not found"), Reply("b", "Hello")])
    conversation = Conversation(turns=[failed, Turn("And?")])
    assert [message["content"] for message in conversation.messages(0)] == ["And?"]
    assert [message["content"] for message in conversation.messages(1)] == ["Hi", "Hello", "And?"]


def test_nothing_in_it_acts():
    turn = Turn("<script>1", replies=[Reply("<img src=x>", "<script>2", error="<script>3")])
    shown = Conversation("<script>0", [turn]).markdown()
    assert ("<script" in shown, "<img" in shown) == (False, False)


async def test_many_pieces_are_few_messages():
    sent: list[tuple[str, str]] = []
    arrived = asyncio.Event()

    def send(text: str, thinking: str) -> None:
        sent.append((text, thinking))
        arrived.set()

    pacing = Pacing(send)
    for _ in range(100):
        pacing.add("x", "y")
    assert sent == []
    await asyncio.wait_for(arrived.wait(), 5)
    assert sent == [("x" * 100, "y" * 100)]
    pacing.add("z", "")
    pacing.flush()
    pacing.flush()
    assert sent[1:] == [("z", "")]
