"""LlamaIndex through its `ollama` integrations, unchanged, with real models."""

import base64
import math
from operator import mul
from typing import Any

import ollama
import pytest

from tests.clients.conftest import MODEL, PICTURES, QUESTION, SAY, City, Doors
from tests.clients.late import Late

messages = Late("llama_index.core.llms")
tools = Late("llama_index.core.tools")
llms = Late("llama_index.llms.ollama")
embeddings = Late("llama_index.embeddings.ollama")

pytestmark = [
    pytest.mark.model,
    pytest.mark.client("llama-index"),
    pytest.mark.usefixtures("unclosed"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def hello() -> Any:
    return messages.ChatMessage(role="user", content=SAY)


def made(url: str, model: str = MODEL, tokens: int = 12) -> Any:
    options = {"num_predict": tokens}
    return llms.Ollama(
        model, url, temperature=0, context_window=2048, additional_kwargs=options, keep_alive=300
    )


@pytest.mark.feature("chat", "chat, streamed")
def test_a_streamed_chat_is_the_whole_one_in_pieces(url, models):
    whole = made(url, models.chat).chat([hello()])
    pieces = list(made(url, models.chat).stream_chat([hello()]))
    assert "".join(piece.delta for piece in pieces) == whole.message.content != ""


@pytest.mark.feature("completion", "completion, streamed")
def test_a_completion_is_streamed_too(url):
    whole = made(url).complete(SAY)
    pieces = list(made(url).stream_complete(SAY))
    assert "".join(piece.delta for piece in pieces) == whole.text != ""


@pytest.mark.feature("asynchronous")
async def test_asynchronous_answers_are_streamed(url):
    stream = await made(url).astream_chat([hello()])
    assert "".join([piece.delta async for piece in stream])


@pytest.mark.feature("tools")
def test_a_tool_is_called_with_its_arguments(url, models):
    tool, caller = tools.FunctionTool.from_defaults(get_weather), made(url, models.caller)
    answer = caller.chat_with_tools([tool], "How is the weather in Paris?")
    (call,) = caller.get_tool_calls_from_response(answer)
    assert tool(**call.tool_kwargs).content == "sunny in Paris"


@pytest.mark.feature("structured output")
def test_an_answer_is_an_object_of_the_class(url, models):
    model = made(url, models.chat, tokens=200).as_structured_llm(City)
    said = messages.ChatMessage(role="user", content="Tell me about Paris as JSON.")
    assert isinstance(model.chat([said]).raw, City)


@pytest.mark.feature("images")
def test_an_answer_is_about_the_picture(url, seer):
    def told(image: str) -> str:
        picture = messages.ImageBlock(image=base64.b64decode(image), image_mimetype="image/png")
        said = messages.ChatMessage(
            role="user", blocks=[messages.TextBlock(text=QUESTION), picture]
        )
        return str(made(url, seer).chat([said]).message.content)

    assert told(PICTURES[0]) != told(PICTURES[1])


@pytest.mark.feature("embeddings")
def test_what_means_the_same_is_near(url, models):
    embedder = embeddings.OllamaEmbedding(models.embedder, url)
    nap, monday = embedder.get_text_embedding_batch(
        ["A kitten is taking a nap.", "Shares fell on Monday."]
    )
    cat = embedder.get_query_embedding("A cat sleeps.")
    assert len(cat) == models.width
    assert math.fsum(map(mul, cat, nap)) > math.fsum(map(mul, cat, monday))


@pytest.mark.feature("errors")
def test_a_missing_model_is_an_error(url):
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found"):
        made(url, "nope").chat([hello()])


@pytest.mark.feature("in Jupyter, with its token")
def test_jupyters_token_may_stand_in_the_environment(doors: Doors, monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", doors.token)
    assert made(doors.mount).chat([hello()]).message.content
