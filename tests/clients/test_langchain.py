"""LangChain through `langchain-ollama`, unchanged, with real models."""

import math
from operator import mul
from typing import Literal

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from pydantic import BaseModel

from tests.clients.conftest import CALLER, EMBEDDER, MODEL, Doors

pytestmark = [
    pytest.mark.model,
    pytest.mark.client("langchain-ollama"),
    pytest.mark.usefixtures("unclosed"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
SHORT = {"temperature": 0, "num_predict": 12}


class City(BaseModel):
    """A city."""

    size: Literal["small", "large"]
    capital: bool


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.fixture
def chat(url: str) -> ChatOllama:
    return ChatOllama(model=MODEL, base_url=url, **SHORT)


@pytest.mark.feature("chat", "chat, streamed")
def test_a_streamed_chat_is_the_whole_one_in_pieces(chat):
    whole = chat.invoke("Say hello.")
    pieces = list(chat.stream("Say hello."))
    assert "".join(piece.content for piece in pieces) == whole.content != ""
    assert whole.usage_metadata["output_tokens"] > 0
    assert whole.response_metadata["done_reason"] in ("stop", "length")


@pytest.mark.feature("asynchronous")
async def test_a_batch_runs_beside_itself(chat):
    answers = await chat.abatch(["Say hello.", "Name a colour."])
    assert all(answer.content for answer in answers)


@pytest.mark.feature("completion", "completion, streamed")
def test_a_completion_is_streamed_too(url):
    model = OllamaLLM(model=MODEL, base_url=url, **SHORT)
    assert "".join(model.stream("The capital of France is")) == model.invoke(
        "The capital of France is"
    )


@pytest.mark.feature("tools", "tools, streamed")
def test_a_bound_tool_is_called_and_its_result_answered(url):
    chat = ChatOllama(model=CALLER, base_url=url, temperature=0)
    said = HumanMessage("How is the weather in Paris?")
    called = chat.bind_tools([get_weather]).invoke([said])
    (call,) = called.tool_calls
    assert get_weather.invoke(call["args"]) == "sunny in Paris"
    pieces = list(chat.bind_tools([get_weather]).stream([said]))
    assert [c["name"] for piece in pieces for c in piece.tool_calls] == ["get_weather"]
    result = ToolMessage("sunny in Paris", tool_call_id=call["id"])
    assert chat.invoke([said, called, result]).content.startswith("Hello there!")


@pytest.mark.feature("structured output")
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_an_answer_is_an_object_of_the_class(url, method):
    chat = ChatOllama(model=MODEL, base_url=url, temperature=0, num_predict=90)
    shape = {"json_schema": City, "json_mode": None}[method]
    answer = chat.with_structured_output(shape, method=method).invoke(
        'Paris as JSON, like {"size": "large", "capital": true}'
    )
    assert isinstance(answer, City if shape else dict)


@pytest.mark.feature("embeddings")
def test_what_means_the_same_is_near(url):
    embedder = OllamaEmbeddings(model=EMBEDDER, base_url=url)
    nap, monday = embedder.embed_documents(["A kitten is taking a nap.", "Shares fell on Monday."])
    cat = embedder.embed_query("A cat sleeps.")
    assert len(cat) == 384
    assert math.fsum(map(mul, cat, nap)) > 0.5 > math.fsum(map(mul, cat, monday))


@pytest.mark.feature("errors")
def test_a_missing_model_is_noticed_when_it_is_made(url):
    with pytest.raises(ValueError, match="Model `nope` not found in Ollama"):
        ChatOllama(model="nope", base_url=url, validate_model_on_init=True)


@pytest.mark.feature("in Jupyter, with its token")
def test_the_token_may_stand_in_the_address(doors: Doors):
    address = doors.mount.replace("://", f"://x:{doors.token}@")
    assert ChatOllama(model=MODEL, base_url=address, **SHORT).invoke("Say hello.").content
