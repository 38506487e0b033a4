"""The official `openai` package for Python, unchanged, with real models."""

import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from operator import mul
from typing import Any

import pytest

from tests.clients.conftest import CALLER, MODEL, PICTURES, QUESTION, SAY, City, Doors
from tests.clients.late import Late

openai = Late("openai")

pytestmark = [pytest.mark.model, pytest.mark.client("openai (Python)")]
COUNT = "1 2 3 4 5 6 7 8 9 10 11 12"
"""As `SAY`, for a model that goes on with a text."""
HELLO: Any = [{"role": "user", "content": SAY}]
WEATHER: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
SHORT: Any = {"temperature": 0, "max_tokens": 8}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def asynchronous(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


# -- chat ------------------------------------------------------------------------------------------


@pytest.mark.feature("chat", "chat, streamed")
def test_a_streamed_chat_is_the_whole_one_in_pieces(client, models):
    asked: Any = {"model": models.chat, "messages": HELLO, **SHORT}
    whole = client.chat.completions.create(**asked)
    options: Any = {"include_usage": True}
    *pieces, last = client.chat.completions.create(stream=True, stream_options=options, **asked)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == whole.choices[0].message.content != ""
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.feature("chat")
def test_several_answers_differ_and_come_again_with_their_seed(client):
    def texts() -> list[Any]:
        asked: Any = {"seed": 7, "n": 2, "max_tokens": 6}
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Say hello."}], **asked
        )
        return [choice.message.content for choice in answer.choices]

    first = texts()
    assert first == texts()
    assert len(set(first)) == 2


@pytest.mark.feature("chat")
def test_the_beginning_of_an_answer_is_continued(client):
    begun: Any = [*HELLO, {"role": "assistant", "content": "One, two, three,"}]
    answer = client.chat.completions.create(model=MODEL, messages=begun, **SHORT)
    assert "four" in answer.choices[0].message.content


@pytest.mark.feature("chat", "responses")
def test_tokens_out_of_the_cache_are_told(client):
    long: Any = "one two three " * 60
    asked: Any = {"model": CALLER, "messages": [{"role": "user", "content": long}]}
    usages = [
        client.chat.completions.create(max_tokens=1, **asked).usage.prompt_tokens_details
        for _ in range(2)
    ]
    assert usages[0] is None
    assert usages[1].cached_tokens >= 128
    again = client.responses.create(model=CALLER, input=long, max_output_tokens=1)
    assert again.usage.input_tokens_details.cached_tokens >= 128


@pytest.mark.feature("asynchronous")
async def test_an_asynchronous_stream_may_be_left_early(asynchronous):
    stream = await asynchronous.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, **SHORT
    )
    async with stream:
        async for piece in stream:
            assert piece.choices[0].delta.role == "assistant"
            break


@pytest.mark.feature("log probabilities")
def test_tokens_come_with_their_probabilities(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=HELLO, logprobs=True, top_logprobs=2, **SHORT
    )
    found = answer.choices[0].logprobs.content
    assert "".join(token.token for token in found) == answer.choices[0].message.content
    assert all(token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob for token in found)


@pytest.mark.feature("chat")
def test_a_biased_token_is_said_or_not(client):
    def first(bias: dict[str, int]) -> str:
        asked: Any = {"logit_bias": bias, "temperature": 0, "max_tokens": 1, "logprobs": True}
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, **asked)
        return answer.choices[0].logprobs.content[0].token

    body: Any = {"model": MODEL, "text": first({}), "special": False}
    address = str(client.base_url).replace("/v1/", "/api/tokenize")
    (token,) = client.post(address, body=body, cast_to=object)["tokens"]
    assert first({str(token): -100}) != body["text"]


# -- tools and structure ---------------------------------------------------------------------------


@pytest.mark.feature("tools", "tools, streamed")
def test_a_called_tool_is_answered(client, models):
    asked: Any = {"model": models.caller, "temperature": 0}
    called = client.chat.completions.create(messages=WEATHER, tools=TOOLS, **asked).choices[0]
    (call,) = called.message.tool_calls
    assert (called.finish_reason, call.function.name) == ("tool_calls", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    with client.chat.completions.stream(messages=WEATHER, tools=TOOLS, **asked) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed.function.arguments == call.function.arguments
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    history = [*WEATHER, called.message.model_dump(exclude_none=True), result]
    answer = client.chat.completions.create(messages=history, **asked)
    assert answer.choices[0].message.content.startswith("Hello there!")


@pytest.mark.feature("tools", "tools, streamed")
@pytest.mark.parametrize("stream", [False, True])
def test_the_tool_that_is_called_can_be_chosen(client, stream):
    other = {"type": "function", "function": {**FUNCTION, "name": "get_time"}}
    asked: Any = {"model": CALLER, "temperature": 0, "messages": WEATHER, "max_tokens": 300}
    asked |= {"tools": [*TOOLS, other], "parallel_tool_calls": False}

    def called(choice: Any) -> list[str]:
        if not stream:
            answer = client.chat.completions.create(tool_choice=choice, **asked)
        else:
            with client.chat.completions.stream(tool_choice=choice, **asked) as events:
                answer = events.get_final_completion()
        calls = answer.choices[0].message.tool_calls or []
        for call in calls:
            assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
        return [call.function.name for call in calls]

    assert called({"type": "function", "function": {"name": "get_time"}}) == ["get_time"]
    assert called("required") in (["get_weather"], ["get_time"])
    assert called("none") == []


@pytest.mark.feature("responses", "tools")
def test_a_response_calls_the_chosen_function(client):
    tools: Any = [{"type": "function", **FUNCTION, "name": name} for name in ("f", "get_time")]
    asked: Any = {"input": "Paris?", "tools": tools, "temperature": 0, "max_output_tokens": 300}
    choice: Any = {"type": "function", "name": "get_time"}
    answer = client.responses.create(model=CALLER, tool_choice=choice, **asked)
    assert [item.name for item in answer.output] == ["get_time"]


@pytest.mark.feature("structured output")
def test_an_answer_is_parsed_into_its_class(client, models):
    answer = client.chat.completions.parse(
        model=models.chat, messages=HELLO, response_format=City, temperature=0, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, City)


@pytest.mark.feature("structured output")
def test_an_answer_may_be_one_of_a_few_words(client):
    wanted: Any = {"type": "choice", "choices": ["yes", "no"]}
    answer = client.chat.completions.create(
        model=MODEL, messages=HELLO, response_format=wanted, **SHORT
    )
    assert answer.choices[0].message.content in ("yes", "no")


# -- the other endpoints ---------------------------------------------------------------------------


@pytest.mark.feature("completion", "completion, streamed")
def test_a_streamed_completion_is_the_whole_one_in_pieces(client):
    asked: Any = {"model": MODEL, "prompt": COUNT, **SHORT}
    whole = client.completions.create(**asked)
    pieces = list(client.completions.create(stream=True, **asked))
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text != ""
    assert pieces[-1].choices[0].finish_reason == "length"
    both = client.completions.create(**{**asked, "prompt": [COUNT, "Water is"]})
    assert both.choices[0].text == whole.choices[0].text
    assert [choice.index for choice in both.choices] == [0, 1]


@pytest.mark.feature("embeddings")
def test_what_means_the_same_is_near_in_every_encoding(client, models):
    texts = ["A cat sleeps.", "A kitten is taking a nap.", "Shares fell on Monday."]
    # Without an encoding the package asks for base64 and decodes it.
    cat, nap, monday = [
        row.embedding for row in client.embeddings.create(model=models.embedder, input=texts).data
    ]
    assert math.fsum(map(mul, cat, nap)) > math.fsum(map(mul, cat, monday))
    asked: Any = {"model": models.embedder, "input": texts[0]}
    plain = client.embeddings.create(encoding_format="float", **asked)
    assert plain.data[0].embedding == pytest.approx(cat, abs=1e-6)
    small = client.embeddings.create(dimensions=8, **asked)
    assert len(small.data[0].embedding) == 8


@pytest.mark.feature("images")
def test_an_answer_is_about_the_picture(client, seer):
    def told(url: str) -> Any:
        picture: Any = {"type": "image_url", "image_url": {"url": url}}
        parts: Any = [{"type": "text", "text": QUESTION}, picture]
        said: Any = [{"role": "user", "content": parts}]
        return client.chat.completions.create(model=seer, messages=said, **SHORT)

    one, other = [told(f"data:image/png;base64,{image}") for image in PICTURES]
    assert one.choices[0].message.content != other.choices[0].message.content
    assert one.usage.prompt_tokens == other.usage.prompt_tokens


@pytest.mark.feature("images", "responses")
def test_a_response_is_about_the_picture(client, seer):
    def told(url: str) -> str:
        picture: Any = {"type": "input_image", "image_url": url, "detail": "auto"}
        parts: Any = [{"type": "input_text", "text": QUESTION}, picture]
        said: Any = [{"role": "user", "content": parts}]
        answer = client.responses.create(model=seer, input=said, temperature=0, max_output_tokens=8)
        return str(answer.output_text)

    one, other = [told(f"data:image/png;base64,{image}") for image in PICTURES]
    assert one != other


@pytest.mark.feature("list, show, running models")
def test_models_are_listed_and_found(client):
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).owned_by == "library"


@pytest.mark.feature("responses", "responses, streamed")
def test_a_streamed_response_is_the_whole_one_in_events(client):
    asked: Any = {"model": MODEL, "input": SAY, "temperature": 0, "max_output_tokens": 8}
    whole = client.responses.create(**asked)
    assert whole.output_text
    with client.responses.stream(**asked) as stream:
        deltas = [e.delta for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == whole.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.feature("responses")
def test_a_response_goes_on_from_the_one_before(client):
    asked: Any = {"model": CALLER, "max_output_tokens": 4}
    first = client.responses.create(input="Say hello.", **asked)
    second = client.responses.create(input="Again.", previous_response_id=first.id, **asked)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.total_tokens


@pytest.mark.feature("responses", "responses, streamed", "tools")
def test_a_response_calls_a_function_and_is_told_its_output(client):
    tool: Any = {"type": "function", "strict": None, **FUNCTION}
    asked: Any = {"model": CALLER, "temperature": 0}
    said: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
    with client.responses.stream(input=said, tools=[tool], **asked) as stream:
        (call,) = stream.get_final_response().output
    assert json.loads(call.arguments) == {"city": "Paris"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    history = [*said, call.model_dump(exclude={"parsed_arguments", "status"}), result]
    answer = client.responses.create(input=history, **asked)
    assert answer.output_text.startswith("Hello there!")


@pytest.mark.feature("responses", "structured output")
def test_a_response_is_parsed_into_its_class(client):
    answer = client.responses.parse(
        model=MODEL, input="Paris?", text_format=City, temperature=0, max_output_tokens=60
    )
    assert isinstance(answer.output_parsed, City)


# -- errors and doors ------------------------------------------------------------------------------


@pytest.mark.feature("errors")
def test_errors_have_their_classes(client):
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.chat.completions.create(model="nope", messages=HELLO)
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.responses.create(model="nope", input="x")
    with pytest.raises(openai.BadRequestError, match="tool_choice must be"):
        client.chat.completions.create(model=MODEL, messages=HELLO, tool_choice="sometimes")
    with pytest.raises(openai.BadRequestError, match="does not support multimodal"):
        client.audio.transcriptions.create(model=MODEL, file=("a.wav", b"RIFF"))
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


@pytest.mark.feature("in Jupyter, with its token")
def test_jupyters_token_is_the_key(doors: Doors):
    address = f"{doors.mount}/v1"
    with openai.OpenAI(base_url=address, api_key=doors.token, max_retries=0) as client:
        answer = client.responses.create(model=MODEL, input="Hi", max_output_tokens=2)
        assert re.fullmatch(r"resp_\d+", answer.id)
    with (
        openai.OpenAI(base_url=address, api_key="wrong", max_retries=0) as client,
        pytest.raises((openai.AuthenticationError, openai.PermissionDeniedError)),
    ):
        client.models.list()
