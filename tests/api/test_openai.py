"""The OpenAI API on the echo backend, beyond the recorded answers."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from tests.echo import CALL

USER = [{"role": "user", "content": "hey"}]
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]


async def chat(echo: httpx.AsyncClient, **fields: Any) -> dict:
    response = await echo.post(
        "/v1/chat/completions", json={"model": "echo", "messages": USER, **fields}
    )
    return response.json()


async def complete(echo: httpx.AsyncClient, prompt: Any, /, **fields: Any) -> dict:
    body = {"model": "echo", "prompt": prompt, **fields}
    return (await echo.post("/v1/completions", json=body)).json()


async def chunks(echo: httpx.AsyncClient, path: str, /, **body: Any) -> list[dict]:
    body = {"model": "echo", "stream": True, "stream_options": {"include_usage": True}, **body}
    response = await echo.post(path, json=body)
    *events, done = [e.removeprefix("data: ") for e in response.text.strip().split("\n\n")]
    assert done == "[DONE]"
    return [json.loads(event) for event in events]


class TestChat:
    async def test_several_answers_are_numbered_and_their_prompt_is_counted_once(self, echo):
        answer = await chat(echo, n=3)
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert {choice["message"]["content"] for choice in answer["choices"]} == {"hey"}
        assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}

    async def test_several_answers_are_streamed_beside_each_other(self, echo):
        *frames, last = await chunks(echo, "/v1/chat/completions", messages=USER, n=2)
        assert len({(frame["id"], frame["created"]) for frame in frames}) == 1
        for index in (0, 1):
            mine = [f["choices"][0] for f in frames if f["choices"][0]["index"] == index]
            assert [choice["delta"].get("role") for choice in mine].count("assistant") == 1
            assert "".join(choice["delta"].get("content", "") for choice in mine) == "hey"
            reasons = [choice["finish_reason"] for choice in mine]
            assert (mine[-1]["delta"], reasons) == ({}, [None] * (len(mine) - 1) + ["stop"])
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 6

    async def test_what_fails_one_answer_is_the_answer_of_all(self, echo):
        body = {"model": "echo", "messages": [{"role": "user", "content": "?"}], "n": 2}
        response = await echo.post("/v1/chat/completions", json=body)
        assert response.status_code == 500
        assert response.json()["error"]["message"] == "asked a question"

    async def test_ollamas_own_options_hold_over_this_api_too(self, echo):
        answer = await chat(echo, options={"num_predict": 1}, num_ctx=77, keep_alive="1h")
        assert answer["choices"][0]["finish_reason"] == "length"
        (running,) = (await echo.get("/api/ps")).json()["models"]
        assert running["context_length"] == 77
        answer = await chat(echo, options={"num_predict": 1}, max_completion_tokens=2)
        assert answer["choices"][0]["message"]["content"] == "he"

    async def test_thinking_is_asked_for_by_effort_or_by_think(self, echo):
        said = [{"role": "user", "content": "<think>hm</think>yes"}]
        for fields in ({"reasoning_effort": "low"}, {"reasoning": {"effort": "ultra"}}, {}):
            answer = await chat(echo, model="clever", messages=said, **fields)
            message = answer["choices"][0]["message"]
            assert (message["reasoning"], message["content"]) == ("hm", "yes")
        for fields in ({"reasoning_effort": "none"}, {"think": False}):
            answer = await chat(echo, model="clever", messages=said, **fields)
            assert answer["choices"][0]["message"]["content"] == said[0]["content"]

    async def test_only_allowed_tools_are_shown_to_the_model(self, echo):
        some = {"mode": "auto", "tools": [TOOLS[1]]}
        choice = {"type": "allowed_tools", "allowed_tools": some}
        answer = await chat(echo, model="roles", tools=TOOLS, tool_choice=choice)
        assert answer["choices"][0]["message"]["content"] == "[user]hey<g>"

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"n": 0}, "n must be between 1 and 128"),
            ({"n": 129}, "n must be between 1 and 128"),
            ({"functions": [{"name": "f"}]}, "use tools and tool_choice"),
            ({"modalities": ["audio"]}, "answers are text"),
            ({"tool_choice": "sometimes"}, "tool_choice must be"),
            ({"tool_choice": {"type": "custom"}}, "tool_choice must be"),
            ({"response_format": {"type": "yaml"}}, '"yaml" are not supported'),
            ({"response_format": {"type": "regex"}}, 'format of type "regex" needs pattern'),
            ({"logit_bias": {"x": 1}}, 'option "logit_bias" must'),
            ({"logit_bias": {"1": "x"}}, "logit_bias of type float64"),
            ({"reasoning_effort": "some"}, 'invalid reasoning value: "some"'),
            ({"keep_alive": "soon"}, 'time: invalid duration "soon"'),
        ],
    )
    async def test_what_cannot_be_done_is_refused(self, echo, fields, message):
        body = {"model": "echo", "messages": USER, **fields}
        response = await echo.post("/v1/chat/completions", json=body)
        error = response.json()["error"]
        assert (response.status_code, error["type"]) == (400, "invalid_request_error")
        assert message in error["message"]

    async def test_a_rendered_prompt_is_shown_in_the_envelope(self, echo):
        answer = await chat(echo, _debug_render_only=True)
        assert answer["_debug_info"] == {"rendered_template": "hey"}
        assert answer["object"] == "chat.completion"

    async def test_developers_are_systems_and_outputs_know_their_function(self, echo):
        call = {"id": "call_1", "function": {"name": "f", "arguments": "{}"}}
        messages = [
            {"role": "developer", "content": "be brief"},
            *USER,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "1"}]},
        ]
        answer = await chat(echo, model="roles", messages=messages)
        said = answer["choices"][0]["message"]["content"]
        assert said == "[system]be brief[user]hey[assistant](f)[tool f]1"

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            ({"type": "text"}, "invalid message format"),
            ({"type": "file"}, "invalid message format"),
            ("text", "invalid message format"),
            ({"type": "image_url", "image_url": "data:image/gif;base64,"}, "invalid image input"),
            ({"type": "image_url", "image_url": "data:;base64,é"}, "invalid image input"),
            (
                {"type": "image_url", "image_url": {"url": "https://x"}},
                "image URLs are not currently supported, please use base64 encoded data instead",
            ),
            ({"type": "input_audio"}, "invalid input_audio format"),
            (
                {"type": "input_audio", "input_audio": {}},
                "invalid input_audio format: missing data",
            ),
            (
                {"type": "input_audio", "input_audio": {"data": "abc!"}},
                "invalid input_audio base64 data: illegal base64 data at input byte 3",
            ),
        ],
    )
    async def test_a_part_that_cannot_be_read_is_refused(self, echo, part, message):
        answer = await chat(echo, messages=[{"role": "user", "content": [part]}])
        assert answer["error"]["message"] == message

    async def test_a_message_without_parts_is_left_out(self, echo):
        nothing = [{"role": "user", "content": []}]
        assert (await chat(echo, messages=[*nothing, *USER]))["usage"]["prompt_tokens"] == 3
        (choice,) = (await chat(echo, messages=nothing))["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("", "load")

    @pytest.mark.parametrize("arguments", ["", "[]", "{", "{} x", "[" * 100_000])
    async def test_arguments_that_are_no_object_are_refused(self, echo, arguments):
        call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
        answer = await chat(echo, messages=[{"role": "assistant", "tool_calls": [call]}])
        assert answer["error"]["message"] == "invalid tool call arguments"


class TestCompletions:
    async def test_every_prompt_has_its_answers_in_order(self, echo):
        answer = await complete(echo, ["ab", "c"], n=2)
        texts = [(choice["index"], choice["text"]) for choice in answer["choices"]]
        assert texts == [(0, "ab"), (1, "ab"), (2, "c"), (3, "c")]
        assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}

    async def test_a_thousand_prompts_leave_room_in_the_queue(self, echo):
        answer = await complete(echo, ["a"] * 1000)
        assert answer["usage"]["completion_tokens"] == 1000

    async def test_token_ids_stand_for_their_text(self, echo):
        assert (await complete(echo, [104, 105]))["choices"][0]["text"] == "hi"
        answer = await complete(echo, [[104], [105]])
        assert [choice["text"] for choice in answer["choices"]] == ["h", "i"]
        assert "token 256 is none" in (await complete(echo, [256]))["error"]["message"]

    async def test_an_echoed_prompt_stands_before_its_answer_once(self, echo):
        assert (await complete(echo, "hi", echo=True))["choices"][0]["text"] == "hihi"
        frames = await chunks(echo, "/v1/completions", prompt="hi", echo=True)
        texts = [frame["choices"][0]["text"] for frame in frames[:-1]]
        assert texts == ["hih", "i", ""]
        assert {frame["usage"]["total_tokens"] for frame in frames[:-1]} == {0}
        assert frames[-1]["usage"]["total_tokens"] == 4

    async def test_logprobs_are_lists_beside_each_other(self, echo):
        answer = await complete(echo, "hey", logprobs=1)
        assert answer["choices"][0]["logprobs"] == {
            "text_offset": [0, 1, 2],
            "token_logprobs": [0, 0, 0],
            "tokens": ["h", "e", "y"],
            "top_logprobs": [{}, {}, {}],
        }

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            (
                {"prompt": {}},
                "json: cannot unmarshal object into Go struct field CompletionRequest.prompt"
                " of type string",
            ),
            (
                {"prompt": ["a", 1]},
                "json: cannot unmarshal array into Go struct field CompletionRequest.prompt"
                " of type string",
            ),
            ({"stop": ["a", 1]}, "invalid type for 'stop' field: float64"),
            ({"stop": [True]}, "invalid type for 'stop' field: bool"),
            ({"stop": [None]}, "invalid type for 'stop' field: <nil>"),
            ({"best_of": 2}, "best_of is not supported: ask for n answers and choose among them"),
            (
                {"echo": True, "logprobs": 1},
                "echo and logprobs exclude each other: a prompt's tokens have none",
            ),
        ],
    )
    async def test_what_cannot_be_done_is_refused(self, echo, fields, message):
        rest = {name: value for name, value in fields.items() if name != "prompt"}
        answer = await complete(echo, fields.get("prompt", "x"), **rest)
        assert answer["error"]["message"] == message


class TestOtherRoutes:
    async def test_token_ids_are_embedded_like_the_text_they_stand_for(self, echo):
        async def vectors(given: Any) -> list[Any]:
            body = {"model": "embedder", "input": given}
            answer = (await echo.post("/v1/embeddings", json=body)).json()
            return [row["embedding"] for row in answer["data"]]

        assert await vectors([97, 98]) == await vectors("ab")
        assert await vectors([[97, 98], [99]]) == await vectors(["ab", "c"])

    async def test_base64_vectors_are_the_same_floats(self, echo):
        body = {"model": "embedder", "input": "abc"}
        plain, coded = [
            (await echo.post("/v1/embeddings", json={**body, "encoding_format": form})).json()
            for form in ("float", "base64")
        ]
        floats = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4")
        assert np.allclose(floats, plain["data"][0]["embedding"])

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ([], "invalid input"),
            (5, "invalid input type"),
            ([[]], "invalid input type"),
            ([True], "invalid input type"),
            ([300], "token 300 is none of the model's, which go from 0 to 255"),
        ],
    )
    async def test_what_cannot_be_embedded_is_refused(self, echo, given, message):
        body = {"model": "embedder", "input": given}
        response = await echo.post("/v1/embeddings", json=body)
        assert (response.status_code, response.json()["error"]["message"]) == (400, message)

    async def test_a_models_name_may_have_slashes(self, echo):
        for path in ("hf.co/some/model:Q4_0", "hf.co%2Fsome%2Fmodel%3AQ4_0"):
            model = (await echo.get(f"/v1/models/{path}")).json()
            assert model["id"] == "hf.co/some/model:Q4_0"

    async def test_three_routes_have_a_second_spelling(self, echo):
        body = {"model": "echo", "messages": USER}
        answer = await echo.post("/api/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "hey"
        refused = await echo.post("/api/chat/completions", json={"model": "echo"})
        assert refused.json()["error"]["type"] == "invalid_request_error"
        shown = await echo.get("/api/show", params={"model": "echo"})
        assert shown.json()["capabilities"] == ["completion"]
        assert (await echo.get("/api/show")).json() == {"error": "model is required"}
        assert (await echo.post("/api/delete", json={})).json() == {"error": "model is required"}

    async def test_a_text_becomes_tokens_and_tokens_become_a_text(self, echo):
        body = {"model": "echo", "text": "hé"}
        answer = (await echo.post("/api/tokenize", json=body)).json()
        assert answer["tokens"] == list("hé".encode())
        body = {"model": "echo", "tokens": answer["tokens"]}
        assert (await echo.post("/api/detokenize", json=body)).json()["text"] == "hé"
        wrong = await echo.post("/api/detokenize", json={**body, "tokens": [-1]})
        assert wrong.status_code == 400
        for path in ("tokenize", "detokenize"):
            missing = await echo.post(f"/api/{path}", json={"model": "nope"})
            assert (missing.status_code, missing.json()) == (
                404,
                {"error": "model 'nope' not found"},
            )


class TestTranscriptions:
    PATH = "/v1/audio/transcriptions"

    @pytest.mark.parametrize(
        ("fields", "files", "message"),
        [
            ({}, {"file": b"x"}, "model is required"),
            ({"model": "echo"}, {"other": b"x"}, "file is required: http: no such file"),
            ({"model": "echo"}, {"file": b""}, "audio file is empty"),
            ({"model": "nope"}, {"file": b"x"}, "model 'nope' not found"),
            (
                {"model": "echo", "response_format": "srt"},
                {"file": b"x"},
                "response_format srt is not supported",
            ),
        ],
    )
    async def test_errors_come_in_their_order(self, echo, fields, files, message):
        named = {name: ("a.wav", content) for name, content in files.items()}
        response = await echo.post(self.PATH, data=fields, files=named)
        assert response.json()["error"]["message"] == message

    @pytest.mark.parametrize(
        ("content_type", "body", "reason"),
        [
            ("application/json", b"{}", "request Content-Type isn't multipart/form-data"),
            ("multipart/form-data", b"", "no multipart boundary param in Content-Type"),
            ("multipart/form-data; boundary=b", b"", "multipart: NextPart: EOF"),
            ("multipart/form-data; boundary=b", b"--b\r\nx: y\r\n\r\nz", "unexpected EOF"),
            ("multipart/form-data; boundary=b", b"--b\r\nx\r\n--b--", "missing headers"),
        ],
    )
    async def test_a_body_that_is_no_form_is_refused(self, echo, content_type, body, reason):
        headers = {"Content-Type": content_type}
        response = await echo.post(self.PATH, content=body, headers=headers)
        assert response.status_code == 400
        assert response.json()["error"]["message"].startswith("failed to parse multipart form: ")
        assert reason in response.json()["error"]["message"]


async def test_a_call_ends_with_its_own_reason_among_several_answers(echo):
    said = [{"role": "user", "content": CALL}]
    answer = await chat(echo, model="clever", messages=said, tools=TOOLS, think=False, n=2)
    for choice in answer["choices"]:
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"][0]["function"]["name"] == "f"


async def test_thoughts_are_counted(echo):
    said = [{"role": "user", "content": "<think>hm</think>yes"}]
    answer = await chat(echo, model="clever", messages=said)
    details = answer["usage"]["completion_tokens_details"]
    assert len("hm") <= details["reasoning_tokens"] <= len("<think>hm</think>")
    body = {"model": "clever", "messages": said, "stream": False}
    assert "thinking_tokens" not in (await echo.post("/api/chat", json=body)).json()
