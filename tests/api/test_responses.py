"""OpenAI's Responses API on the echo backend."""

import json
import re
from itertools import count
from typing import Any

import httpx
import pytest

from ollmlx.api.responses.kept import Kept
from tests.echo import CALL

PATH = "/v1/responses"
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}
SEARCH = '<tool_call>{"name": "web_search", "arguments": {"query": "moon"}}</tool_call>'


async def respond(echo: httpx.AsyncClient, said: Any, **fields: Any) -> dict:
    response = await echo.post(PATH, json={"model": "echo", "input": said, **fields})
    assert response.text.endswith("\n") or response.is_error
    return response.json()


async def events(echo: httpx.AsyncClient, said: Any, **fields: Any) -> list[dict]:
    body = {"model": "echo", "input": said, "stream": True, **fields}
    response = await echo.post(PATH, json=body)
    found = []
    for number, block in zip(count(), response.text.strip().split("\n\n"), strict=False):
        name, data = block.splitlines()
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert list(event) == sorted(event)
        assert event["sequence_number"] == number
        found.append(event)
    return found


def kinds(found: list[dict]) -> list[str]:
    """The events' types, repeated deltas as one."""
    types = [event["type"].removeprefix("response.") for event in found]
    return [kind for kind, before in zip(types, [None, *types], strict=False) if kind != before]


async def test_an_answer_is_a_message_with_one_text(echo):
    answer = await respond(echo, "hey", instructions="")
    (item,) = answer["output"]
    assert re.fullmatch(r"resp_\d{1,6}", answer["id"])
    assert re.fullmatch(r"msg_\d{1,6}", item.pop("id"))
    text = {"type": "output_text", "text": "hey", "annotations": [], "logprobs": []}
    done = {"status": "completed", "role": "assistant", "content": [text]}
    assert item == {"type": "message", **done}
    assert answer["usage"]["total_tokens"] == 6


async def test_a_request_is_repeated_in_its_answer(echo):
    wanted = {
        "instructions": "be brief",
        "tools": [{**TOOL, "description": None, "strict": True}],
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 0.25,
        "truncation": "auto",
        "max_output_tokens": 100,
        "background": True,
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {"b": 1, "a": 2}}},
        "reasoning": {"effort": "none"},
    }
    answer = await respond(echo, "hey", model="roles", **wanted)
    assert {name: answer[name] for name in wanted} == wanted
    begun = (await events(echo, "hey", model="roles", **wanted))[0]["response"]
    assert begun["reasoning"] == {"effort": "none", "summary": None}
    assert list(begun) == sorted(begun)
    assert begun["tools"] == wanted["tools"]
    assert list(begun["text"]["format"]["schema"]) == ["b", "a"]
    assert (await respond(echo, "hey", truncation=""))["truncation"] == ""


async def test_text_is_streamed_between_its_frames(echo):
    found = await events(echo, "hey")
    assert kinds(found) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done"),
        "completed",
    ]
    deltas = [e["delta"] for e in found if e["type"] == "response.output_text.delta"]
    assert deltas == ["h", "e", "y"]
    begun, ended = found[0]["response"], found[-1]["response"]
    assert (begun["status"], begun["output"], begun["usage"]) == ("in_progress", [], None)
    assert ended["status"] == "completed"
    assert ended["output"] == [found[-2]["item"]]
    assert ended["usage"]["output_tokens"] == 3


async def test_thoughts_and_calls_are_items_of_their_own(echo):
    said = f"<think>hm</think>so{CALL}more"
    found = await events(echo, said, model="clever", tools=[TOOL])
    assert kinds(found)[2:] == [
        *("output_item.added", "reasoning_summary_text.delta", "reasoning_summary_text.done"),
        *("output_item.done", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "output_item.added"),
        *("function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    thoughts, text, call = found[-1]["response"]["output"]
    assert thoughts["encrypted_content"] == thoughts["summary"][0]["text"] == "hm"
    assert text["content"][0]["text"] == "so"
    assert (call["name"], call["arguments"], call["status"]) == ("f", '{"a":1}', "completed")
    places = [e["output_index"] for e in found if e["type"] == "response.output_item.done"]
    assert places == [0, 1, 2]
    whole = await respond(echo, said, model="clever", tools=[TOOL])
    assert [item["type"] for item in whole["output"]] == ["reasoning", "function_call"]
    assert whole["output"][1]["id"] == f"fc_{whole['id']}_0"


async def test_probabilities_are_told_to_those_who_ask(echo):
    include = ["message.output_text.logprobs"]
    answer = await respond(echo, "hey", include=include)
    assert [p["token"] for p in answer["output"][0]["content"][0]["logprobs"]] == list("hey")
    found = await events(echo, "hey", include=include)
    done = next(event for event in found if event["type"] == "response.output_text.done")
    assert [p["token"] for p in done["logprobs"]] == list("hey")


async def test_what_fails_before_the_first_event_has_its_status_and_later_is_an_event(echo):
    body = {"model": "echo", "input": "?", "stream": True}
    response = await echo.post(PATH, json=body)
    assert (response.status_code, response.json()["error"]["type"]) == (500, "api_error")
    found = await events(echo, "a?")
    assert found[-1]["type"] == "response.failed"
    failed = found[-1]["response"]
    assert failed["error"] == {"code": "api_error", "message": "asked a question"}
    assert failed["status"] == "failed"


async def test_a_search_of_the_web_fails_as_without_a_cloud(echo):
    tools = [{"type": "web_search"}, {**TOOL, "name": "web_search"}]
    answer = await respond(echo, "hey", model="roles", tools=tools)
    assert answer["output"][0]["content"][0]["text"] == "[user]hey<web_search>"
    assert answer["tools"][0]["type"] == "web_search"
    said = {"model": "clever", "tools": tools, "reasoning": {"effort": "none"}}
    refused = await echo.post(PATH, json={**said, "input": SEARCH})
    assert refused.status_code == 403
    assert "web search is unavailable" in refused.json()["error"]["message"]
    found = await events(echo, SEARCH, **said)
    assert kinds(found)[2:] == [
        *("output_item.added", "web_search_call.in_progress", "web_search_call.searching"),
        "failed",
    ]
    assert found[2]["item"]["action"] == {"type": "search", "query": "moon"}


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ([{"role": "user", "content": "a"}], "[user]a"),
        ([{"type": "message", "role": "developer", "content": "a"}], "[system]a"),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "a"},
                        {"type": "output_text", "text": "b"},
                        {"type": "input_image"},
                    ],
                }
            ],
            "[user]ab",
        ),
        (
            [
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "2", "name": "g", "arguments": ""},
                {"role": "assistant", "content": "wait"},
                {"type": "function_call_output", "call_id": "2", "output": "b"},
                {
                    "type": "function_call_output",
                    "call_id": "1",
                    "output": [{"type": "input_text", "text": "a"}],
                },
                {"role": "assistant", "content": "so"},
                {"type": "web_search_call", "id": "ws_1"},
            ],
            "[assistant]wait(f)(g)[tool g]b[tool f]a[assistant]so",
        ),
    ],
)
async def test_items_become_messages(echo, said, prompt):
    answer = await respond(echo, said, model="roles")
    assert answer["output"][0]["content"][0]["text"] == prompt


async def test_instructions_come_first(echo):
    answer = await respond(echo, "hey", model="roles", instructions="be brief")
    assert answer["output"][0]["content"][0]["text"] == "[system]be brief[user]hey"


async def test_thoughts_come_before_the_message_they_led_to(echo):
    thoughts = {"type": "reasoning", "summary": [], "encrypted_content": "hm"}
    said = [thoughts, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    answer = await respond(echo, said, model="clever", reasoning={"effort": "none"})
    assert answer["output"][0]["content"][0]["text"] == "<think>hm</think>b"
    answer = await respond(echo, [thoughts], model="clever", reasoning={"effort": "none"})
    assert answer["output"][0]["content"][0]["text"] == "<think>hm</think>"


async def test_keys_of_items_may_be_written_in_any_case(echo):
    parts = [{"Type": "input_text", "TEXT": "hey"}]
    answer = await respond(echo, [{"Role": "user", "CONTENT": parts}], model="roles")
    assert answer["output"][0]["content"][0]["text"] == "[user]hey"


async def test_an_empty_input_is_answered(echo):
    answer = await respond(echo, [])
    assert answer["output"][0]["content"][0]["text"] == ""


async def test_members_of_a_namespace_have_its_name_before_theirs(echo):
    tools = [{"type": "namespace", "name": "ns", "tools": [TOOL, {**TOOL, "name": "ns.g"}]}]
    answer = await respond(echo, "hey", model="roles", tools=tools)
    assert answer["output"][0]["content"][0]["text"] == "[user]hey<ns.f><ns.g>"


async def test_a_call_of_a_namespaces_function_tells_both_apart(echo):
    """Codex runs no `ns.f`."""
    tools, said = [{"type": "namespace", "name": "ns", "tools": [TOOL]}], CALL.replace("f", "ns.f")
    (call,) = (await respond(echo, said, model="clever", tools=tools))["output"]
    assert (call["namespace"], call["name"]) == ("ns", "f")
    assert (await events(echo, said, model="clever", tools=tools))[-2]["item"]["name"] == "f"
    answer = await respond(echo, [call], model="roles")
    assert answer["output"][0]["content"][0]["text"] == "[assistant](ns.f)"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input": 5}, "input must be a string or array: json: cannot unmarshal number"),
        ({"input": [{"type": "x"}]}, 'input[0]: unknown input item type: "x"'),
        (
            {"input": ["x"]},
            "input[0]: json: cannot unmarshal string into Go value of type"
            ' struct { Type string "json:\\"type\\""; Role string "json:\\"role\\"" }',
        ),
        ({"input": [None]}, "input[0]: input item missing required 'type' field"),
        (
            {"input": [{"role": "user", "content": ["x"]}]},
            "input[0]: content[0]: json: cannot unmarshal string into Go value of type"
            ' struct { Type string "json:\\"type\\"" }',
        ),
        (
            {"input": [{"type": "function_call", "name": 5}]},
            "input[0]: json: cannot unmarshal number into Go struct field"
            " ResponsesFunctionCall.name of type string",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "detail": 5}]}]},
            "input[0]: content[0]: json: cannot unmarshal number into Go struct field"
            " ResponsesImageContent.detail of type string",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": 5}]},
            "input[0]: json: cannot unmarshal number into Go struct field .call_id of type string",
        ),
        (
            {"input": [{"type": "reasoning", "summary": [{"text": 5}]}]},
            "input[0]: json: cannot unmarshal number into Go struct field"
            " ResponsesReasoningSummary.summary.text of type string",
        ),
        (
            {"input": [{"type": "function_call", "arguments": "[]"}]},
            "failed to parse function call arguments: Value looks like object",
        ),
        ({"input": [{"content": "x"}]}, "input[0]: input item missing required 'type' field"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}, {"type": "x"}]}]},
            "input[0]: content[1]: unknown content type: x",
        ),
        (
            {"input": [{"role": "user", "content": 5}]},
            "input[0]: content must be a string or array: json: cannot unmarshal number",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "1", "output": {}}]},
            "input[0]: output must be a string or array: json: cannot unmarshal object",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            "file inputs are not currently supported",
        ),
        (
            {"input": [{"type": "function_call", "name": "f", "arguments": "{"}]},
            "failed to parse function call arguments: unexpected end of JSON input",
        ),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}
                ]
            },
            "image URLs are not currently supported",
        ),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"type": 5}}]},
            "failed to unmarshal tool parameters: json: cannot unmarshal number into Go struct"
            " field ToolFunctionParameters.type of type string",
        ),
        ({"reasoning": {"effort": "x"}}, 'invalid reasoning value: "x"'),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice must be"),
        ({"text": {"format": {"type": "yaml"}}}, '"yaml" are not supported'),
        ({"model": ""}, "model is required"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(echo, fields, message):
    response = await echo.post(PATH, json={"model": "echo", "input": "hey", **fields})
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert message in error["message"]


async def test_too_long_an_input_is_cut_unless_that_is_forbidden(echo):
    said = {"input": "x" * 100, "num_ctx": 32, "max_output_tokens": 1}
    assert (await echo.post(PATH, json={"model": "echo", **said})).status_code == 200
    refused = await echo.post(PATH, json={"model": "echo", "truncation": "disabled", **said})
    assert refused.status_code == 400
    assert "exceeds the available context size" in refused.json()["error"]["message"]


async def test_a_request_goes_on_from_a_response_without_its_instructions(echo):
    first = await respond(echo, "hey", model="roles", instructions="be brief")
    assert (first["previous_response_id"], first["store"]) == (None, True)
    second = await events(echo, "and", model="roles", previous_response_id=first["id"])
    ended = second[-1]["response"]
    assert ended["previous_response_id"] == first["id"]
    text = "[user]hey[assistant][system]be brief[user]hey[user]and"
    assert ended["output"][0]["content"][0]["text"] == text
    third = await respond(echo, "so", model="roles", previous_response_id=ended["id"])
    assert third["output"][0]["content"][0]["text"] == f"{text}[assistant]{text}[user]so"
    forked = await respond(echo, "or", model="roles", previous_response_id=first["id"])
    assert "and" not in forked["output"][0]["content"][0]["text"]


async def test_the_output_of_a_call_is_all_that_the_next_request_says(echo):
    first = await respond(echo, f"<think>hm</think>{CALL}", model="clever", tools=[TOOL])
    call = first["output"][-1]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    asked = {"model": "roles", "tools": [TOOL], "previous_response_id": first["id"]}
    answer = await respond(echo, [result], **asked)
    assert answer["output"][0]["content"][0]["text"].endswith("[assistant](f)[tool f]sunny<f>")
    wrong = await respond(echo, [result, {"type": "x"}], **asked)
    assert wrong["error"]["message"] == 'input[1]: unknown input item type: "x"'


async def test_what_is_not_to_be_stored_is_not(echo):
    answer = await respond(echo, "hey", store=False)
    assert answer["store"] is False
    missing = await respond(echo, "and", model="roles", previous_response_id=answer["id"])
    assert missing["output"][0]["content"][0]["text"] == "[user]and"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_gone_on_from_is_told_beside_an_answer_to_the_input(echo, caplog, stream):
    asked = {"model": "roles", "input": "and", "stream": stream}
    known = await echo.post(PATH, json=asked)
    assert "Ollmlx-Ignored" not in known.headers
    asked |= {"previous_response_id": "resp_x\r\n", "conversation": "conv_1"}
    answer = await echo.post(PATH, json=asked)
    assert answer.status_code == 200
    assert answer.headers["Ollmlx-Ignored"] == "previous_response_id, conversation"
    assert '"previous_response_id":null' in answer.text
    assert "[user]and" in answer.text
    assert "no such previous_response_id or conversation" in caplog.text


def test_the_conversation_that_was_used_last_stays_longest():
    kept = Kept(limit_bytes=30)
    for name in ("a", "b"):
        kept.put(name, ["x" * 10])
    assert kept.items("a") == ["x" * 10]
    kept.put("c", ["x" * 10])
    assert kept.items("a")
    assert kept.items("b") == []
    kept.put("large", ["x" * 100])
    assert kept.items("large") == ["x" * 100]


async def test_no_response_is_fetched(echo):
    for method in ("GET", "DELETE"):
        answer = await echo.request(method, f"{PATH}/resp_1")
        assert (answer.status_code, answer.text) == (404, "404 page not found")
