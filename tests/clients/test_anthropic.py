"""The official `anthropic` package for Python, unchanged, with real models."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import ollama
import pytest

from tests.clients.conftest import CALLER, MODEL, PICTURES, QUESTION, SAY, City, Doors
from tests.clients.late import Late
from tests.clients.test_ollama import THINKER

anthropic = Late("anthropic")

pytestmark = [pytest.mark.model, pytest.mark.client("anthropic")]
HELLO: list[Any] = [{"role": "user", "content": SAY}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
# This client no longer has the parameter, which the API still does.
GREEDY: dict[str, Any] = {"extra_body": {"temperature": 0}}
SHORT: dict[str, Any] = {"model": MODEL, "max_tokens": 12, **GREEDY}


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def asynchronous(url: str) -> AsyncIterator[Any]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="unused") as opened:
        yield opened


@pytest.mark.feature("chat", "chat, streamed")
def test_a_streamed_message_is_the_whole_one_in_pieces(client, models):
    asked: Any = SHORT | {"model": models.chat, "system": "Be brief.", "messages": HELLO}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)
        last = stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == last.content[0].text == whole.content[0].text != ""
    assert (whole.role, whole.type, whole.model) == ("assistant", "message", models.chat)
    assert last.stop_reason == whole.stop_reason in ("end_turn", "max_tokens")
    assert last.usage.output_tokens == whole.usage.output_tokens > 0


@pytest.mark.feature("chat")
def test_a_conversation_in_blocks_is_answered(client):
    cached = {"cache_control": {"type": "ephemeral"}}
    blocks: Any = [{"type": "text", "text": "My name is Ada.", **cached}]
    talk: Any = [
        {"role": "user", "content": blocks},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "And yours?"},
    ]
    system: Any = [{"type": "text", "text": "You are Bob.", **cached}]
    metadata: Any = {"user_id": "ada"}
    answer = client.messages.create(**SHORT, system=system, messages=talk, metadata=metadata)
    assert answer.content[0].type == "text"
    assert answer.usage.input_tokens > 20


@pytest.mark.feature("asynchronous")
async def test_an_answer_is_awaited(asynchronous):
    answer = await asynchronous.messages.create(**SHORT, messages=HELLO)
    async with asynchronous.messages.stream(**SHORT, messages=HELLO) as stream:
        assert await stream.get_final_text() == answer.content[0].text


@pytest.mark.feature("tools", "tools, streamed")
def test_a_tool_is_called_and_its_result_answered(client, models):
    asked: dict[str, Any] = {"model": models.caller, "max_tokens": 99, **GREEDY}
    said: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
    whole = client.messages.create(**asked, messages=said, tools=[WEATHER])
    with client.messages.stream(**asked, messages=said, tools=[WEATHER]) as stream:
        streamed = stream.get_final_message()
    for answer in (whole, streamed):
        call = answer.content[-1]
        assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
        assert answer.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    talk = [*said, {"role": "assistant", "content": streamed.content}]
    after = client.messages.create(
        **asked, messages=[*talk, {"role": "user", "content": [result]}], tools=[WEATHER]
    )
    assert after.content


@pytest.mark.feature("tools", "chat, streamed")
def test_a_coding_agents_request_is_taken_as_it_is(client):
    """With all that Claude Code sends along: betas, caching, context, many tools of many kinds."""
    cached = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    reminder = "<system-reminder>Be brief.</system-reminder>"
    said: Any = [{"type": "text", "text": reminder}, {"type": "text", "text": "Hi", **cached}]
    tools: Any = [WEATHER | {"name": f"tool_{n}"} for n in range(15)]
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    strict = WEATHER["input_schema"] | schema | {"additionalProperties": False}
    tools += [WEATHER | {"input_schema": strict, **cached}]
    with client.beta.messages.stream(
        model=CALLER,
        max_tokens=99,
        system=[{"type": "text", "text": "You are an agent.", **cached}],
        messages=[{"role": "user", "content": said}],
        tools=tools,
        thinking={"type": "adaptive"},
        metadata={"user_id": "user_1_account__session_2"},
        betas=["claude-code-20250219", "interleaved-thinking-2025-05-14"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        output_config={"effort": "medium"},
        **GREEDY,
    ) as stream:
        answer = stream.get_final_message()
    assert [block.name for block in answer.content if block.type == "tool_use"] == ["get_weather"]


@pytest.mark.feature("structured output")
def test_an_answer_has_the_shape_of_the_class(client, models):
    asked: list[Any] = [{"role": "user", "content": "Tell me about Paris as JSON."}]
    answer = client.messages.parse(
        model=models.chat, max_tokens=200, messages=asked, output_format=City, **GREEDY
    )
    assert isinstance(answer.parsed_output, City)


@pytest.mark.feature("images")
def test_an_answer_is_about_the_picture(client, seer):
    def told(image: str) -> str:
        source: Any = {"type": "base64", "media_type": "image/png", "data": image}
        parts: Any = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
        said: Any = [{"role": "user", "content": parts}]
        return str(client.messages.create(**SHORT | {"model": seer}, messages=said).content[0].text)

    assert told(PICTURES[0]) != told(PICTURES[1])


@pytest.fixture
def thinker(url: str) -> Iterator[str]:
    """A model whose template begins its answers with a thought."""
    with ollama.Client(url, trust_env=False) as client:
        client.create("thinks", from_=MODEL, template=THINKER)
        yield "thinks"
        client.delete("thinks")


@pytest.mark.feature("thinking")
def test_thoughts_are_blocks_of_a_model_that_has_them(client, thinker):
    asked: Any = SHORT | {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    with client.messages.stream(**asked | {"model": thinker}, messages=HELLO) as stream:
        answer = stream.get_final_message()
    assert answer.content[0].type == "thinking"
    assert answer.content[0].thinking
    plain = client.messages.create(**asked, messages=HELLO)
    assert [block.type for block in plain.content] == ["text"]


@pytest.mark.feature("token count")
def test_counted_tokens_are_those_that_are_read(client):
    asked: Any = {"system": "Be brief.", "messages": HELLO, "model": MODEL}
    counted = client.messages.count_tokens(**asked)
    answer = client.messages.create(**asked, max_tokens=1)
    assert counted.input_tokens == answer.usage.input_tokens


@pytest.mark.feature("list, show, running models")
def test_models_are_listed_page_by_page(client):
    names = [model.id for model in client.models.list(limit=1)]
    assert {MODEL, CALLER} <= set(names)
    assert client.models.retrieve(MODEL).display_name == MODEL


@pytest.mark.feature("errors")
def test_errors_are_the_ones_that_the_package_knows(client):
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found") as refused:
        client.messages.create(model="nope", max_tokens=5, messages=HELLO)
    assert refused.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="does not support tools"):
        client.messages.create(**SHORT, messages=HELLO, tools=[WEATHER])
    with pytest.raises(anthropic.BadRequestError, match="max_tokens is required"):
        client.messages.create(**SHORT | {"max_tokens": 0}, messages=HELLO)


@pytest.mark.feature("in Jupyter, with its token")
def test_jupyters_token_opens_the_same_models(doors: Doors):
    with anthropic.Anthropic(base_url=doors.mount, api_key=doors.token) as client:
        assert client.messages.create(**SHORT, messages=HELLO).content
    with (
        anthropic.Anthropic(base_url=doors.mount, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.PermissionDeniedError, match="authentication required"),
    ):
        stranger.messages.create(**SHORT, messages=HELLO)
