"""POST /v1/messages on the echo backend: what comes back is the prompt, so it shows both ways."""

import json
import re
from typing import Any

import httpx
import pytest
import zstandard

from ollmlx.api.anthropic.messages import native_messages
from ollmlx.wire.anthropic import CountTokensRequest
from ollmlx.wire.decode import decode
from tests.echo import CALL

TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {}}}}
SEARCH = '<tool_call>{"name": "web_search", "arguments": {"query": "moon"}}</tool_call>'
PIXEL = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


async def ask(echo: httpx.AsyncClient, content: Any, **fields: Any) -> httpx.Response:
    message = {"role": "user", "content": content}
    body = {"model": "echo", "max_tokens": 4000, "messages": [message], **fields}
    return await echo.post("/v1/messages", json=body)


async def said(echo: httpx.AsyncClient, messages: list[Any], **fields: Any) -> str:
    """What the model was given, role by role."""
    answer = await ask(echo, "", model="roles", messages=messages, **fields)
    return answer.json()["content"][0]["text"]


async def events(echo: httpx.AsyncClient, content: Any, **fields: Any) -> list[dict]:
    response = await ask(echo, content, stream=True, **fields)
    return read_events(response)


def read_events(response: httpx.Response) -> list[dict]:
    """Events are named as their type says."""
    found = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


async def test_a_whole_answer_is_a_message(echo):
    response = await ask(echo, "hey")
    answer = response.json()
    assert list(answer) == ["id", "type", "role", "model", "content", "stop_reason", "usage"]
    assert re.fullmatch(r"msg_[0-9a-f]{24}", answer["id"])
    assert answer["content"] == [{"type": "text", "text": "hey"}]
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "echo")
    assert answer["stop_reason"] == "end_turn"
    assert answer["usage"] == {"input_tokens": 3, "output_tokens": 3}
    assert response.headers["Content-Type"] == "application/json"
    assert response.text.endswith("}\n")


async def test_an_answer_cut_short_says_so(echo):
    answer = (await ask(echo, "hey", max_tokens=2)).json()
    assert answer["content"] == [{"type": "text", "text": "he"}]
    assert answer["stop_reason"] == "max_tokens"


async def test_an_answer_of_nothing_has_null_for_content(echo):
    # A message in which nothing is said is left out, and without messages a model is only loaded.
    answer = (await ask(echo, [])).json()
    assert (answer["content"], answer["stop_reason"]) == (None, "stop_sequence")


async def test_a_stream_goes_block_by_block(echo):
    response = await ask(echo, "hey", stream=True)
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    start, *middle, delta, stop = read_events(response)
    assert start["message"].pop("id").startswith("msg_")
    assert start["message"] == {
        "type": "message",
        "role": "assistant",
        "model": "echo",
        "content": [],
        "usage": {"input_tokens": 1, "output_tokens": 0},
    }
    opened = {"type": "content_block_start", "index": 0}
    assert middle[0] == opened | {"content_block": {"type": "text", "text": ""}}
    written = {"type": "content_block_delta", "index": 0}
    pieces = [written | {"delta": {"type": "text_delta", "text": letter}} for letter in "hey"]
    assert middle[1:-1] == pieces
    assert middle[-1] == {"type": "content_block_stop", "index": 0}
    usage = {"input_tokens": 3, "output_tokens": 3}
    assert delta == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": usage,
    }
    assert stop == {"type": "message_stop"}


async def test_thoughts_text_and_calls_are_blocks_of_their_own(echo):
    content, tools = f"<think>hm</think>so{CALL}", [TOOL]
    whole = (await ask(echo, content, model="clever", tools=tools)).json()
    thought, text, call = whole["content"]
    assert thought == {"type": "thinking", "thinking": "hm"}
    assert text == {"type": "text", "text": "so"}
    assert call == {"type": "tool_use", "id": call["id"], "name": "f", "input": {"a": 1}}
    assert whole["stop_reason"] == "tool_use"
    streamed = await events(echo, content, model="clever", tools=tools)
    starts = [event for event in streamed if event["type"] == "content_block_start"]
    assert [start["index"] for start in starts] == [0, 1, 2]
    assert [start["content_block"]["type"] for start in starts] == ["thinking", "text", "tool_use"]
    assert starts[2]["content_block"]["input"] == {}
    deltas = [event["delta"] for event in streamed if event["type"] == "content_block_delta"]
    assert "".join(delta.get("thinking", "") for delta in deltas) == "hm"
    assert "".join(delta.get("text", "") for delta in deltas) == "so"
    assert deltas[-1] == {"type": "input_json_delta", "partial_json": '{"a":1}'}
    stops = [event["index"] for event in streamed if event["type"] == "content_block_stop"]
    assert stops == [0, 1, 2]
    assert streamed[-2]["delta"] == {"stop_reason": "tool_use"}


async def test_to_think_is_asked_of_every_model_and_only_done_by_those_that_can(echo):
    asked = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert (await ask(echo, "hey", **asked)).json()["content"][0]["text"] == "hey"
    content = "<think>hm</think>yes"
    off = await ask(echo, content, model="clever", thinking={"type": "disabled"})
    assert off.json()["content"] == [{"type": "text", "text": content}]
    adaptive = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}
    on = await ask(echo, content, model="clever", **adaptive)
    assert [block["type"] for block in on.json()["content"]] == ["thinking", "text"]


async def test_a_system_in_blocks_and_messages_in_blocks_reach_the_template(echo):
    cached = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief.", **cached}]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", **cached}]
    text = await said(echo, [{"role": "USER", "content": parts}], system=system)
    assert text == "[system]Be brief.[user]ab"


async def test_results_of_tools_stand_before_what_the_user_says_of_them(echo):
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    texts = [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": texts}
    text = await said(
        echo,
        [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "text", "text": "I call"}, use]},
            {"role": "user", "content": [{"type": "text", "text": "well"}, result]},
            {"role": "assistant", "content": [{"type": "document"}]},
        ],
        tools=[TOOL],
    )
    assert text == "[user]go[assistant]I call(f)[tool f]42[user]well<f>"


async def test_searches_of_earlier_turns_are_calls_and_results(echo):
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    hit = {"type": "web_search_result", "title": "T", "url": "u"}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [hit]}
    error = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    failed = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": error}
    text = await said(echo, [{"role": "assistant", "content": [use, found, failed]}])
    name = "web_search_tool_result_error: unavailable"
    assert text == f"[assistant](web_search)[tool web_search]- T: u\n[tool web_search]{name}"


async def test_anthropics_own_search_is_offered_and_fails_as_without_a_cloud(echo):
    tools = [TOOL, {"name": "web_search"}, {"type": "web_search_20250305", "name": "web_search"}]
    assert (await said(echo, [{"role": "user", "content": "x"}], tools=tools)).endswith(
        "<f><web_search>"
    )
    asked = {"model": "clever", "tools": tools}
    answer = (await ask(echo, f"so{SEARCH}{CALL}", **asked)).json()
    use, result = answer["content"]
    assert use["id"] == "srvtoolu_" + answer["id"].removeprefix("msg_")
    assert (use["type"], use["input"]) == ("server_tool_use", {"query": "moon"})
    assert result == {
        "type": "web_search_tool_result",
        "tool_use_id": use["id"],
        "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
    }
    assert answer["stop_reason"] == "end_turn"
    streamed = await events(echo, f"so{SEARCH}{CALL}", **asked)
    starts = [event for event in streamed if event["type"] == "content_block_start"]
    kinds = ["text", "server_tool_use", "web_search_tool_result"]
    assert [start["content_block"]["type"] for start in starts] == kinds
    assert [start["index"] for start in starts] == [0, 1, 2]
    assert streamed[-2]["delta"] == {"stop_reason": "end_turn"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "model is required"),
        ({"model": " "}, "model is required"),
        ({"max_tokens": 0}, "max_tokens is required and must be positive"),
        ({"messages": []}, "messages is required"),
        ({"messages": [{"role": "user"}]}, "unexpected end of JSON input"),
        (
            {"tools": [{"type": "web_search_20250305", "max_uses": "x"}]},
            "json: cannot unmarshal string into Go struct field Tool.tools.max_uses of type int",
        ),
        ({"system": 5}, "system must be a string or an array of text blocks"),
        (
            {"max_tokens": "9"},
            "json: cannot unmarshal string into Go struct field MessagesRequest.max_tokens of"
            " type int",
        ),
        (
            {"tools": [{"name": "f", "input_schema": 5}]},
            'invalid input_schema for tool "f": json: cannot unmarshal number into Go value of'
            " type api.ToolFunctionParameters",
        ),
        (
            {"tool_choice": {"type": "some"}},
            'invalid tool_choice type: "some" (must be "auto", "any", "tool", or "none")',
        ),
        (
            {"output_config": {"format": {"type": "text"}}},
            "output format must be of type json_schema and have a schema",
        ),
    ],
)
async def test_a_wrong_request_is_refused_in_anthropics_words(echo, changes, message):
    response = await ask(echo, "hey", **changes)
    answer = response.json()
    assert response.status_code == 400
    assert re.fullmatch(r"req_[0-9a-f]{24}", answer.pop("request_id"))
    assert answer == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
    }


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"type": "image"}, "invalid image source"),
        (
            {"type": "image", "source": {"type": "url", "url": "http://x"}},
            "invalid image source type: url. Only base64 images are supported.",
        ),
        (
            {"type": "image", "source": PIXEL | {"data": "!!"}},
            "invalid base64 image data: illegal base64 data at input byte 0",
        ),
        ({"type": "tool_use", "name": "f"}, "tool_use block missing required 'id' field"),
        ({"type": "tool_use", "id": "a"}, "tool_use block missing required 'name' field"),
        (
            {"type": "tool_use", "id": "a", "name": "f", "input": 5},
            "Value looks like object, but can't find closing '}' symbol",
        ),
        (
            {"type": "tool_result", "content": [{"type": "image"}]},
            "invalid tool_result image source",
        ),
    ],
)
async def test_a_block_that_means_nothing_is_refused(echo, block, message):
    response = await ask(echo, [block])
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)


async def test_what_the_engine_refuses_has_anthropics_shape_too(echo):
    missing = await ask(echo, "hey", model="nope", stream=True)
    assert missing.status_code == 404
    assert missing.json()["error"] == {
        "type": "not_found_error",
        "message": "model 'nope' not found",
    }
    assert missing.headers["Content-Type"] == "application/json"
    assert (await ask(echo, "hey", tools=[TOOL])).status_code == 400
    for image in ({"type": "image", "source": PIXEL}, result_with(PIXEL)):
        assert (await ask(echo, [image])).json()["error"]["type"] == "invalid_request_error"


def test_pictures_go_along_with_what_they_stand_beside():
    image = {"type": "image", "source": PIXEL}
    content = [{"type": "text", "text": "look"}, image, result_with(PIXEL)]
    body = {"messages": [{"role": "user", "content": content}]}
    result, said = native_messages(decode(json.dumps(body).encode(), CountTokensRequest))
    assert (result.role, result.images, result.tool_call_id) == ("tool", [PIXEL["data"]], "t")
    assert (said.role, said.content, said.images) == ("user", "look", [PIXEL["data"]])


def result_with(source: dict[str, str]) -> dict[str, Any]:
    content = [{"type": "image", "source": source}]
    return {"type": "tool_result", "tool_use_id": "t", "content": content}


async def test_an_error_in_a_stream_is_told(echo):
    streamed = await events(echo, "a?")
    assert streamed[-1]["type"] == "error"
    assert streamed[-1]["error"] == {"type": "api_error", "message": "asked a question"}
    assert "message_stop" not in [event["type"] for event in streamed]


async def test_tokens_are_counted_as_the_prompt_has_them(echo):
    tools, system = [TOOL], "Be brief."
    body = {"model": "roles", "system": system, "messages": [{"role": "user", "content": "héy"}]}
    counted = await echo.post("/v1/messages/count_tokens", json={**body, "tools": tools})
    answered = await ask(echo, "", **body, tools=tools)
    assert counted.json() == {"input_tokens": answered.json()["usage"]["input_tokens"]}
    assert counted.json()["input_tokens"] == len("[system]Be brief.[user]héy<f>".encode())
    wrong = await echo.post("/v1/messages/count_tokens", json={"model": "echo"})
    assert wrong.json()["error"]["message"] == "messages is required"
    absent = await echo.post("/v1/messages/count_tokens", json={**body, "model": "nope"})
    assert (absent.status_code, absent.json()["error"]["type"]) == (404, "not_found_error")


async def test_a_long_conversation_is_counted_whole_though_it_would_be_cut(echo):
    messages = [{"role": "user", "content": "x" * 3000}] * 3
    body = {"model": "echo", "messages": messages}
    counted = await echo.post("/v1/messages/count_tokens", json=body)
    assert counted.json()["input_tokens"] >= 9000


class TestCompressed:
    BODY = json.dumps(
        {"model": "echo", "max_tokens": 9, "messages": [{"role": "user", "content": "hey"}]}
    ).encode()

    async def send(
        self, echo: httpx.AsyncClient, path: str, body: bytes, coding: str = "zstd"
    ) -> httpx.Response:
        return await echo.post(path, content=body, headers={"Content-Encoding": coding})

    @pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
    async def test_bodies_may_be_compressed_with_zstd(self, echo, path):
        response = await self.send(echo, path, zstandard.compress(self.BODY))
        assert response.status_code == 200
        assert "hey" in response.text

    async def test_what_cannot_be_read_is_told_in_ollamas_own_form(self, echo):
        response = await self.send(echo, "/v1/messages", b"no zstd")
        assert (response.status_code, response.json()) == (
            400,
            {"error": "invalid input: magic number mismatch"},
        )

    async def test_ollamas_own_routes_read_what_they_get(self, echo):
        response = await self.send(echo, "/api/chat", zstandard.compress(self.BODY))
        assert response.json()["error"].startswith("invalid character '(' looking for")
