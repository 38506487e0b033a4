"""Models whose configuration names a renderer and a parser, over HTTP."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ollmlx.settings import Settings
from tests.echo import EchoLibrary, echo_model
from tests.serving import served

ABLE = {"capabilities": ("completion", "tools", "thinking"), "chat_template": "weights' own"}
MODELS = EchoLibrary(
    echo_model("qwen:latest", renderer="qwen3.5", parser="qwen3.5", **ABLE),
    echo_model("gemma:31b", renderer="gemma4", parser="gemma4", **ABLE),
    echo_model("strange:latest", renderer="strange", **ABLE),
    echo_model("parsed:latest", parser="olmo3", template="{{ .Prompt }}", **ABLE),
)
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(Settings(), MODELS) as url:
        yield url


async def rendered(client: httpx.AsyncClient, model: str, **request: Any) -> str:
    body = {"model": model, "messages": HI, "_debug_render_only": True, **request}
    response = await client.post("/api/chat", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["_debug_info"]["rendered_template"])


async def test_the_renderer_goes_before_every_template(client):
    start = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    assert await rendered(client, "qwen") == start
    assert await rendered(client, "qwen", think=False) == f"{start}\n</think>\n\n"
    large = await rendered(client, "gemma:31b", think=False)
    assert large.endswith("<|turn>model\n<|channel>thought\n<channel|>")
    assert await rendered(client, "parsed") == "hi"


async def test_a_renderer_that_nobody_knows_is_an_error(client):
    response = await client.post("/api/chat", json={"model": "strange", "messages": HI})
    assert (response.status_code, response.json()) == (500, {"error": 'unknown renderer "strange"'})


async def test_a_reply_is_read_by_the_parser_beside_a_template(client):
    # The echo repeats its prompt, which is a call as Olmo writes it.
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    said = [{"role": "user", "content": '<function_calls>f(x="b")</function_calls>'}]
    body = {"model": "parsed", "messages": said, "tools": tools, "stream": False}
    answer = (await client.post("/api/chat", json=body)).json()["message"]
    assert answer["content"] == ""
    assert [call["function"]["arguments"] for call in answer["tool_calls"]] == [{"x": "b"}]


async def test_others_are_answered_while_a_template_takes_its_time(client):
    endless = "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}"
    body = {"model": "parsed", "prompt": "hi", "template": endless}
    answering = asyncio.create_task(client.post("/api/generate", json=body))
    answered = 0
    while not answering.done():
        await client.get("/api/version")
        answered += 1
    assert "too many steps" in (await answering).json()["error"]
    assert answered > 5  # two at most where it ran on the event loop
