"""The official `ollama` package for Python, unchanged, with real models."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from operator import mul

import ollama
import pytest

from tests.clients.conftest import CALLER, EMBEDDER, MODEL, PICTURES, QUESTION, SAY, City, Doors
from tests.registry import docker_registry

pytestmark = [pytest.mark.model, pytest.mark.client("ollama (Python)")]
GREETING = [{"role": "user", "content": SAY}]
SHORT = {"temperature": 0, "num_predict": 12}
THINKER = (
    "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"
    "{{ .Content }}\n{{ end }}<think>"
)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[ollama.Client]:
    with ollama.Client(url, trust_env=False) as opened:
        yield opened


@pytest.fixture
async def asynchronous(url: str) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(url, trust_env=False) as opened:
        yield opened


def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
      city: Its name.
    """
    return f"sunny in {city}"


@pytest.mark.feature("chat", "chat, streamed")
def test_a_streamed_chat_is_the_whole_one_in_pieces(client, models):
    whole = client.chat(models.chat, GREETING, options=SHORT)
    pieces = list(client.chat(models.chat, GREETING, stream=True, options=SHORT))
    assert "".join(piece.message.content for piece in pieces) == whole.message.content != ""
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].eval_count == whole.eval_count
    assert whole.done_reason in ("stop", "length")


@pytest.mark.feature("completion", "completion, streamed")
def test_a_completion_goes_on_from_its_context(client):
    first = client.generate(MODEL, SAY, options=SHORT)
    pieces = client.generate(MODEL, SAY, options=SHORT, stream=True)
    assert "".join(piece.response for piece in pieces) == first.response != ""
    second = client.generate(MODEL, "And of Italy?", context=first.context, options=SHORT)
    assert second.prompt_eval_count > first.prompt_eval_count
    assert second.context[: len(first.context) // 2] == first.context[: len(first.context) // 2]


@pytest.mark.feature("asynchronous")
async def test_asynchronous_chats_run_beside_each_other(asynchronous):
    async def ask(text: str) -> str:
        said = [{"role": "user", "content": text}]
        stream = await asynchronous.chat(MODEL, said, stream=True, options=SHORT)
        return "".join([piece.message.content async for piece in stream])

    answers = await asyncio.gather(ask("Say hello."), ask("Name a colour."))
    assert all(answers)
    assert answers[0] != answers[1]


@pytest.mark.feature("tools", "tools, streamed")
def test_a_function_of_python_is_called_with_its_arguments(client, models):
    said = [{"role": "user", "content": "How is the weather in Paris?"}]
    asked = {"model": models.caller, "tools": [get_weather], "options": {"temperature": 0}}
    whole = client.chat(messages=said, **asked)
    pieces = client.chat(messages=said, stream=True, **asked)
    streamed = [call for piece in pieces for call in piece.message.tool_calls or []]
    for calls in (whole.message.tool_calls, streamed):
        (call,) = calls
        assert call.function.name == "get_weather"
        assert get_weather(**call.function.arguments) == "sunny in Paris"
    result = {"role": "tool", "tool_name": "get_weather", "content": "sunny"}
    after = client.chat(models.caller, [*said, whole.message, result], options={"temperature": 0})
    assert after.message.content.startswith("Hello there!")


@pytest.mark.feature("structured output")
def test_an_answer_has_the_shape_of_the_model_class(client, models):
    said = [{"role": "user", "content": "Tell me about Paris as JSON."}]
    options = {"temperature": 0, "num_predict": 200}
    answer = client.chat(models.chat, said, format=City.model_json_schema(), options=options)
    assert answer.done_reason == "stop"
    assert City.model_validate_json(answer.message.content)


@pytest.mark.feature("thinking", "create, copy, delete")
def test_a_made_model_thinks_before_it_answers(client):
    client.create("thinker", from_=MODEL, template=THINKER)
    client.copy("thinker", "copied")
    assert "thinking" in client.show("copied").capabilities
    answer = client.chat("copied", GREETING, think=True, options=SHORT)
    assert answer.message.thinking
    for name in ("thinker", "copied"):
        client.delete(name)
    with pytest.raises(ollama.ResponseError, match="not found"):
        client.show("copied")


@pytest.mark.feature("embeddings")
def test_what_means_the_same_is_near(client, models):
    texts = ["A cat sleeps.", "A kitten is taking a nap.", "Shares fell on Monday."]
    vectors = client.embed(models.embedder, texts).embeddings
    assert [len(vector) for vector in vectors] == [models.width] * 3
    nap, shares = (math.fsum(map(mul, vectors[0], other)) for other in vectors[1:])
    assert nap > shares
    assert len(client.embed(models.embedder, texts[0], dimensions=8).embeddings[0]) == 8
    assert len(client.embeddings(models.embedder, texts[0]).embedding) == models.width


@pytest.mark.feature("images")
def test_an_answer_is_about_the_picture(client, seer):
    def told(*images: str) -> ollama.ChatResponse:
        said = [{"role": "user", "content": QUESTION, "images": list(images)}]
        return client.chat(seer, said, options=SHORT)

    one, other, blind = told(PICTURES[0]), told(PICTURES[1]), told()
    assert one.message.content != other.message.content
    assert one.prompt_eval_count == other.prompt_eval_count > blind.prompt_eval_count
    assert "vision" in client.show(seer).capabilities


@pytest.mark.feature("log probabilities")
def test_tokens_come_with_their_probabilities(client):
    answer = client.generate(MODEL, "Hello", logprobs=True, top_logprobs=2, options=SHORT)
    assert len(answer.logprobs) == answer.eval_count
    assert all(len(token.top_logprobs) == 2 >= token.logprob for token in answer.logprobs)


@pytest.mark.feature("list, show, running models")
def test_models_are_listed_shown_and_seen_running(client):
    client.generate(MODEL, keep_alive="5m")
    assert {MODEL, EMBEDDER, CALLER} <= {model.model for model in client.list().models}
    assert client.show(MODEL).details.family == "llama"
    assert client.show(MODEL).modelinfo["general.architecture"] == "llama"
    assert MODEL in [model.model for model in client.ps().models]


@pytest.mark.feature("pull")
def test_a_model_is_pulled_with_its_progress(client, scripted, tmp_path):
    config = {"model_format": "gguf", "model_family": "llama", "file_type": "F32"}
    with docker_registry(tmp_path) as registry:
        registry.add("library/tiny", "latest", config, model=scripted.gguf.read_bytes())
        name = f"{registry.host}/library/tiny:latest"
        states = [step.status for step in client.pull(name, insecure=True, stream=True)]
    assert states[0] == "pulling manifest"
    assert states[-1] == "success"
    assert client.chat(name, GREETING, options={"temperature": 0}).message.content
    client.delete(name)


@pytest.mark.feature("errors")
def test_a_missing_model_is_an_error_with_its_status(client):
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as refused:
        client.chat("nope", GREETING)
    assert refused.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="does not support tools"):
        client.chat(MODEL, GREETING, tools=[get_weather])


@pytest.mark.feature("in Jupyter, with its token")
def test_jupyters_token_opens_the_same_models(doors: Doors):
    headers = {"Authorization": f"Bearer {doors.token}"}
    with ollama.Client(doors.mount, headers=headers, trust_env=False) as client:
        assert client.chat(MODEL, GREETING, options=SHORT).message.content
    with (
        ollama.Client(doors.mount, trust_env=False) as stranger,
        pytest.raises(ollama.ResponseError, match="authentication required"),
    ):
        stranger.list()
