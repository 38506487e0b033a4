"""LangChain through `langchain-ollama`, unchanged, with real models."""

import math
from operator import mul

import pytest

from tests.clients.conftest import MODEL, PICTURES, QUESTION, SAY, City, Doors
from tests.clients.late import Late

messages = Late("langchain_core.messages")
langchain = Late("langchain_ollama")

pytestmark = [
    pytest.mark.model,
    pytest.mark.client("langchain-ollama"),
    pytest.mark.usefixtures("unclosed"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
SHORT = {"temperature": 0, "num_predict": 12}


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.mark.feature("chat", "chat, streamed")
def test_a_streamed_chat_is_the_whole_one_in_pieces(url, models):
    chat = langchain.ChatOllama(model=models.chat, base_url=url, **SHORT)
    whole = chat.invoke(SAY)
    pieces = list(chat.stream(SAY))
    assert "".join(piece.content for piece in pieces) == whole.content != ""
    assert whole.usage_metadata["output_tokens"] > 0
    assert whole.response_metadata["done_reason"] in ("stop", "length")


@pytest.mark.feature("asynchronous")
async def test_a_batch_runs_beside_itself(url):
    chat = langchain.ChatOllama(model=MODEL, base_url=url, **SHORT)
    answers = await chat.abatch(["Say hello.", "Name a colour."])
    assert all(answer.content for answer in answers)


@pytest.mark.feature("completion", "completion, streamed")
def test_a_completion_is_streamed_too(url):
    model = langchain.OllamaLLM(model=MODEL, base_url=url, **SHORT)
    assert "".join(model.stream(SAY)) == model.invoke(SAY)


@pytest.mark.feature("tools", "tools, streamed")
def test_a_bound_tool_is_called_and_its_result_answered(url, models):
    chat = langchain.ChatOllama(model=models.caller, base_url=url, temperature=0)
    said = messages.HumanMessage("How is the weather in Paris?")
    called = chat.bind_tools([get_weather]).invoke([said])
    (call,) = called.tool_calls
    assert get_weather(**call["args"]) == "sunny in Paris"
    pieces = list(chat.bind_tools([get_weather]).stream([said]))
    assert [c["name"] for piece in pieces for c in piece.tool_calls] == ["get_weather"]
    result = messages.ToolMessage("sunny in Paris", tool_call_id=call["id"])
    assert chat.invoke([said, called, result]).content.startswith("Hello there!")


@pytest.mark.feature("structured output")
def test_an_answer_is_an_object_of_the_class(url, models):
    chat = langchain.ChatOllama(model=models.chat, base_url=url, temperature=0, num_predict=200)
    shaped = chat.with_structured_output(City, method="json_schema")
    assert isinstance(shaped.invoke("Paris as JSON"), City)


@pytest.mark.feature("structured output")
def test_an_answer_is_some_object(url):
    chat = langchain.ChatOllama(model=MODEL, base_url=url, temperature=0, num_predict=90)
    free = chat.with_structured_output(None, method="json_mode")
    assert isinstance(free.invoke('Paris as JSON, like {"size": "large"}'), dict)


@pytest.mark.feature("images")
def test_an_answer_is_about_the_picture(url, seer):
    def told(image: str) -> str:
        picture = {"type": "image_url", "image_url": f"data:image/png;base64,{image}"}
        said = messages.HumanMessage([{"type": "text", "text": QUESTION}, picture])
        return str(langchain.ChatOllama(model=seer, base_url=url, **SHORT).invoke([said]).content)

    assert told(PICTURES[0]) != told(PICTURES[1])


@pytest.mark.feature("embeddings")
def test_what_means_the_same_is_near(url, models):
    embedder = langchain.OllamaEmbeddings(model=models.embedder, base_url=url)
    nap, monday = embedder.embed_documents(["A kitten is taking a nap.", "Shares fell on Monday."])
    cat = embedder.embed_query("A cat sleeps.")
    assert len(cat) == models.width
    assert math.fsum(map(mul, cat, nap)) > math.fsum(map(mul, cat, monday))


@pytest.mark.feature("errors")
def test_a_missing_model_is_noticed_when_it_is_made(url):
    with pytest.raises(ValueError, match="Model `nope` not found in Ollama"):
        langchain.ChatOllama(model="nope", base_url=url, validate_model_on_init=True)


@pytest.mark.feature("in Jupyter, with its token")
def test_the_token_may_stand_in_the_address(doors: Doors):
    address = doors.mount.replace("://", f"://x:{doors.token}@")
    assert langchain.ChatOllama(model=MODEL, base_url=address, **SHORT).invoke("Say hello.").content
