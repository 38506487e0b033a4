"""What Copilot and other plug-ins of editors ask an Ollama, in the order they ask it.

GitHub Copilot Chat: the release (it wants 0.6.4 or newer), the models, what each can do, then
OpenAI's chat with the tools of its agent, streamed.  Continue, Cline and Open WebUI ask parts of
this.  Codex asks for responses.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.conftest import CALLER, MODEL, PICTURES, QUESTION

pytestmark = [pytest.mark.model, pytest.mark.client("editors (Copilot …)")]
OLDEST_FOR_COPILOT = (0, 6, 4)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name."}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    # A webview of the editor asks, with an origin of its own.
    with httpx.Client(base_url=url, headers={"Origin": "vscode-webview://1a2b"}) as client:
        client.timeout = httpx.Timeout(60)
        yield client


def chunks(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.feature("list, show, running models")
def test_the_release_is_new_enough_and_models_tell_what_they_can_do(http):
    release = http.get("/api/version").json()["version"]
    assert tuple(map(int, release.split("-")[0].split("+")[0].split("."))) >= OLDEST_FOR_COPILOT
    listed = {model["model"] for model in http.get("/api/tags").json()["models"]}
    assert {MODEL, CALLER} <= listed
    shown = {name: http.post("/api/show", json={"model": name}).json() for name in (MODEL, CALLER)}
    assert "tools" in shown[CALLER]["capabilities"]
    assert "tools" not in shown[MODEL]["capabilities"]
    for model in shown.values():
        info = model["model_info"]
        assert info[f"{info['general.architecture']}.context_length"] > 0
        assert info["general.basename" if "general.basename" in info else "general.architecture"]


@pytest.mark.feature("chat, streamed")
def test_a_chat_of_openais_kind_is_streamed_with_its_usage(http, models):
    asked = {
        "model": models.chat,
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You are a programmer."}]},
            {"role": "user", "content": [{"type": "text", "text": "Say hello."}]},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 12,
        "temperature": 0.1,
        "top_p": 1,
        "n": 1,
    }
    answer = http.post("/v1/chat/completions", json=asked)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    said = chunks(answer)
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in said if c["choices"])
    assert said[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.feature("images")
def test_a_picture_that_is_attached_is_seen(http, seer):
    def told(image: str) -> list[str]:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
        said = [{"role": "user", "content": [{"type": "text", "text": QUESTION}, picture]}]
        asked = {"model": seer, "messages": said, "stream": True, "max_tokens": 8, "temperature": 0}
        answer = chunks(http.post("/v1/chat/completions", json=asked))
        return [chunk["choices"][0]["delta"].get("content") for chunk in answer]

    assert told(PICTURES[0]) != told(PICTURES[1])


@pytest.mark.feature("tools, streamed")
def test_a_tool_of_an_agent_is_called_and_its_result_read(http, models):
    said: list[dict[str, Any]] = [{"role": "user", "content": "How is the weather in Paris?"}]
    asked = {"model": models.caller, "stream": True, "temperature": 0, "tools": [WEATHER]}
    answer = http.post(
        "/v1/chat/completions", json={**asked, "messages": said, "tool_choice": "auto"}
    )
    deltas = [chunk["choices"][0] for chunk in chunks(answer) if chunk["choices"]]
    (call,) = [c for choice in deltas for c in choice["delta"].get("tool_calls") or []]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    assert deltas[-1]["finish_reason"] == "tool_calls"
    said += [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    after = http.post("/v1/chat/completions", json={**asked, "messages": said, "tools": []})
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks(after))
    assert text.startswith("Hello there!")


@pytest.mark.feature("responses, streamed")
def test_codex_is_called_back_with_its_tools(http, models):
    """As its command line asks, with a tool for each kind that it sends."""
    said: list[dict[str, Any]] = [
        {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
        for role, text in (("developer", "You are a coding agent."), ("user", "How is Paris?"))
    ]
    function = {"type": "function", "strict": False, **WEATHER["function"]}
    others = {"type": "namespace", "name": "agents", "tools": [{**function, "name": "wait_agent"}]}
    asked = {
        "model": models.caller,
        "tools": [function, others, {"type": "web_search", "external_web_access": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "01a208bb",
        "client_metadata": {"session_id": "01a208bb"},
    }

    def items(**changed: Any) -> list[dict[str, Any]]:
        answer = http.post("/v1/responses", json={**asked, **changed})
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if "data: " in line]
        assert events[-1]["type"] == "response.completed"
        return [e["item"] for e in events if e["type"] == "response.output_item.done"]

    (call,) = items(input=said)
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    (message,) = items(input=[*said, call, result], tools=[])
    assert message["content"][0]["text"].startswith("Hello there!")
