"""LiteLLM, unchanged: its three ways to an Ollama, with real models."""

import json
import math
from operator import mul
from typing import Any

import pytest

from tests.clients.conftest import MODEL, PICTURES, QUESTION, SAY, City, Doors
from tests.clients.late import Late

litellm = Late("litellm")

pytestmark = [
    pytest.mark.model,
    pytest.mark.client("litellm"),
    pytest.mark.usefixtures("unclosed"),
    pytest.mark.filterwarnings("ignore"),  # litellm's own, about its types and sockets
]
HELLO = [{"role": "user", "content": SAY}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def reach(provider: str, url: str) -> dict[str, Any]:
    """The arguments by which a provider of litellm finds the server."""
    if provider == "openai":
        return {"api_base": f"{url}/v1", "api_key": "unused"}
    return {"api_base": url}


@pytest.fixture(params=["ollama", "ollama_chat", "openai"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.feature("chat", "chat, streamed")
def test_a_streamed_chat_is_the_whole_one_in_pieces(url, provider, models):
    asked = {"messages": HELLO, "temperature": 0, "max_tokens": 12}
    asked["model"] = f"{provider}/{models.chat}"
    whole = litellm.completion(**asked, **reach(provider, url))
    pieces = list(litellm.completion(**asked, **reach(provider, url), stream=True))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == whole.choices[0].message.content != ""
    assert whole.usage.completion_tokens > 0


@pytest.mark.feature("completion")
def test_a_text_is_completed(url):
    answer = litellm.text_completion(
        "The capital of France is",
        model=f"text-completion-openai/{MODEL}",
        max_tokens=6,
        **reach("openai", url),
    )
    assert answer.choices[0].text


@pytest.mark.feature("asynchronous")
async def test_an_answer_is_awaited(url):
    answer = await litellm.acompletion(
        f"ollama_chat/{MODEL}", HELLO, max_tokens=6, **reach("ollama_chat", url)
    )
    assert answer.choices[0].message.content


@pytest.mark.feature("tools")
@pytest.mark.parametrize("provider", ["ollama_chat", "openai"], indirect=True)
def test_a_tool_is_called_with_its_arguments(url, provider, models):
    asked = [{"role": "user", "content": "How is the weather in Paris?"}]
    name = f"{provider}/{models.caller}"
    answer = litellm.completion(name, asked, tools=[WEATHER], temperature=0, **reach(provider, url))
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


@pytest.mark.feature("structured output")
def test_an_answer_has_the_shape_of_the_class(url, provider, models):
    asked = [{"role": "user", "content": "Tell me about Paris as JSON."}]
    answer = litellm.completion(
        f"{provider}/{models.chat}",
        asked,
        response_format=City,
        temperature=0,
        max_tokens=200,
        **reach(provider, url),
    )
    assert City.model_validate_json(answer.choices[0].message.content)


@pytest.mark.feature("images")
@pytest.mark.parametrize("provider", ["ollama_chat", "openai"], indirect=True)
def test_an_answer_is_about_the_picture(url, provider, seer):
    def told(image: str) -> str:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
        asked = [{"role": "user", "content": [{"type": "text", "text": QUESTION}, picture]}]
        name, short = f"{provider}/{seer}", {"temperature": 0, "max_tokens": 8}
        answer = litellm.completion(name, asked, **short, **reach(provider, url))
        return str(answer.choices[0].message.content)

    assert told(PICTURES[0]) != told(PICTURES[1])


@pytest.mark.feature("embeddings")
@pytest.mark.parametrize("provider", ["ollama", "openai"], indirect=True)
def test_what_means_the_same_is_near(url, provider, models):
    texts = ["A cat sleeps.", "A kitten is taking a nap.", "Shares fell on Monday."]
    answer = litellm.embedding(f"{provider}/{models.embedder}", texts, **reach(provider, url))
    cat, nap, monday = (one["embedding"] for one in answer.data)
    assert math.fsum(map(mul, cat, nap)) > math.fsum(map(mul, cat, monday))


@pytest.mark.feature("errors")
def test_a_missing_model_is_not_found(url):
    with pytest.raises(litellm.NotFoundError, match="model 'nope' not found"):
        litellm.completion("openai/nope", HELLO, max_retries=0, **reach("openai", url))


@pytest.mark.feature("in Jupyter, with its token")
@pytest.mark.parametrize("provider", ["ollama_chat", "openai"], indirect=True)
def test_jupyters_token_is_the_key(doors: Doors, provider):
    way = {**reach(provider, doors.mount), "api_key": doors.token}
    answer = litellm.completion(f"{provider}/{MODEL}", HELLO, max_tokens=6, **way)
    assert answer.choices[0].message.content
