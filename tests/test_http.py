"""The open door on the echo backend: HTTP, operation, pipe and worker are the real ones."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from ollmlx.client import AsyncClient, Client, Ignored
from ollmlx.engine.echo import ENQUIRY
from ollmlx.room import Room
from ollmlx.settings import Settings
from ollmlx.wire.native import Message
from tests.echo import CALL, CLEVER, EchoLibrary, echo_model
from tests.serving import talking
from tests.waiting import until

TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}},
}
MODELS = EchoLibrary(
    echo_model(),
    echo_model("clever:latest", template=CLEVER, capabilities=("completion", "tools", "thinking")),
    echo_model(
        "primed:latest",
        template="{{ range .Messages }}{{ .Content }}|{{ end }}",
        system="own",
        messages=(Message("user", "hi"), Message("assistant", "hello")),
    ),
    echo_model("embedder:latest", capabilities=("embedding",)),
    echo_model("broken:latest", path="nowhere"),
)


@pytest.fixture(scope="module")
def room():
    started = Room(Settings(num_parallel=4), MODELS)
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def url(room):
    return f"http://127.0.0.1:{room.open_door('127.0.0.1', 0)}"


@pytest.fixture
async def client(url) -> AsyncIterator[httpx.AsyncClient]:
    async with talking(url) as client:
        yield client


def lines(response: httpx.Response) -> list[dict]:
    return [json.loads(line) for line in response.text.splitlines()]


async def chat(client: httpx.AsyncClient, text: str, **fields: object) -> httpx.Response:
    body = {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}
    return await client.post("/api/chat", json=body)


async def test_a_token_is_a_line(client):
    response = await chat(client, "hey")
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert [line["message"]["content"] for line in lines(response)] == ["h", "e", "y", ""]
    assert [line.get("done_reason") for line in lines(response)] == [None, None, None, "stop"]
    assert response.text.endswith("}\n")


async def test_tokens_of_the_same_moment_leave_together(client):
    text = " ".join(map(str, range(100)))
    body = {"model": "echo", "prompt": text}
    async with client.stream("POST", "/api/generate", json=body) as response:
        pieces = [piece async for piece in response.aiter_raw()]
    assert b"".join(pieces).count(b"\n") == len(text) + 1
    assert len(pieces) < 100  # steps take a millisecond here


async def test_the_first_token_of_an_answer_is_held_for_nobody(client):
    other = {"model": "echo", "prompt": "x" * 2000}
    body = {"model": "echo", "prompt": f"h{chr(ENQUIRY)}"}
    async with (
        asyncio.timeout(10),
        client.stream("POST", "/api/generate", json=other) as another,
        client.stream("POST", "/api/generate", json=body) as response,
    ):
        await anext(another.aiter_raw())
        said = response.aiter_lines()
        assert json.loads(await anext(said))["response"] == "h"
        await client.post("/api/tokenize", json={"model": "echo", "text": "received"})
        assert [json.loads(line)["done"] async for line in said] == [False, True]


async def test_a_whole_answer_has_its_type_and_no_newline(client):
    response = await chat(client, "hey", stream=False)
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.json()["message"] == {"role": "assistant", "content": "hey"}
    assert response.text.endswith("}")


async def test_fields_stand_in_the_order_of_go(client):
    response = await chat(client, "hey", stream=False, logprobs=True)
    assert list(response.json()) == [
        *("model", "created_at", "message", "done", "done_reason", "logprobs", "total_duration"),
        *("load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count"),
        "eval_duration",
    ]
    body = {"model": "echo", "prompt": "hey", "stream": False}
    response = await client.post("/api/generate", json=body)
    assert list(response.json()) == [
        *("model", "created_at", "response", "done", "done_reason", "context", "total_duration"),
        *("load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count"),
        "eval_duration",
    ]


async def test_what_html_could_misread_is_escaped(client):
    response = await chat(client, "<&>", stream=False)
    assert r"\u003c\u0026\u003e" in response.text
    assert response.json()["message"]["content"] == "<&>"


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("embed", "{}", 404, "model '' not found"),
        ("embeddings", "{}", 400, "model is required"),
        ("chat", '{"model":"a b"}', 404, "model 'a b' not found"),
        ("embed", '{"model":"nope","input":5}', 400, "invalid input type"),
        (
            "generate",
            '{"model":"nope","top_logprobs":21}',
            400,
            "top_logprobs must be between 0 and 20",
        ),
        (
            "generate",
            '{"model":"echo","prompt":"x","options":{"stop":"x"}}',
            500,
            'option "stop" must be of type array',
        ),
        (
            "generate",
            '{"model":"echo","prompt":"x","raw":true,"system":"y"}',
            400,
            "raw mode does not support template, system, or context",
        ),
        (
            "generate",
            '{"model":"embedder","prompt":"x"}',
            400,
            '"embedder" does not support generate',
        ),
        ("chat", '{"model":" nope "}', 404, "model ' nope ' not found"),
        ("show", '{"model":"  "}', 400, "model is required"),
        (
            "generate",
            '{"model":"x:20B-Cloud"}',
            403,
            "ollama cloud is disabled: remote model is unavailable",
        ),
        (
            "show",
            '{"model":"x: cloud"}',
            403,
            "ollama cloud is disabled: remote model details are unavailable",
        ),
        ("generate", '{"model":"a b:cloud"}', 400, "invalid model name"),
        (
            "embed",
            r'{"model":"nope\n"}',
            404,
            r'model "nope\n" not found, try pulling it first',
        ),
        (
            "copy",
            '{"source":"x:cloud:local","destination":"x"}',
            400,
            'source "x:cloud:local" is invalid',
        ),
        ("generate", '{"model":"broken","prompt":"x"}', 500, "nothing answers at nowhere"),
        ("generate", '{"model":"echo","prompt":"?"}', 500, "asked a question"),
    ],
)
async def test_a_wrong_request_gets_the_error_of_ollama(client, path, body, status, error):
    response = await client.post(f"/api/{path}", content=body)
    assert (response.status_code, response.json()) == (status, {"error": error})


async def test_a_refusal_has_the_type_of_what_ollama_was_about_to_answer(client):
    for fields, kind in (
        ({"format": "xml"}, "application/json"),
        ({"format": "xml", "stream": False}, "application/json; charset=utf-8"),
        ({"options": {"top_k": "a"}}, "application/json; charset=utf-8"),
    ):
        for path, text in (
            ("chat", {"messages": [{"role": "user"}]}),
            ("generate", {"prompt": "x"}),
        ):
            refused = await client.post(f"/api/{path}", json={"model": "echo", **text, **fields})
            assert (refused.status_code, refused.headers["Content-Type"]) == (500, kind)


async def test_an_error_after_the_first_line_is_the_last_line(client):
    response = await chat(client, "a?")
    assert response.status_code == 200
    assert lines(response)[-1] == {"error": "asked a question"}


async def test_loading_and_unloading_are_one_document_even_when_streaming(client):
    for path in ("generate", "chat"):
        for fields, reason in (({}, "load"), ({"keep_alive": 0}, "unload")):
            response = await client.post(f"/api/{path}", json={"model": "echo", **fields})
            assert response.json()["done_reason"] == reason
            assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert (await client.get("/api/ps")).json() == {"models": []}


async def test_a_loaded_model_is_listed_with_its_window(client):
    await chat(client, "hi", options={"num_ctx": 64}, keep_alive=-1)
    (running,) = (await client.get("/api/ps")).json()["models"]
    assert (running["name"], running["context_length"]) == ("echo:latest", 64)
    assert running["expires_at"] > "2300"
    await client.post("/api/generate", json={"model": "echo", "keep_alive": 0})


async def test_context_holds_prompt_and_answer_and_raw_has_none(client):
    body = {"model": "echo", "prompt": "hi", "stream": False}
    answer = (await client.post("/api/generate", json=body)).json()
    assert answer["context"] == list(b"hihi")
    again = await client.post("/api/generate", json={**body, "context": answer["context"]})
    assert again.json()["response"] == "hihihi"
    raw = await client.post("/api/generate", json={**body, "raw": True})
    assert "context" not in raw.json()


async def test_num_predict_ends_with_length_and_zero_writes_nothing(client):
    for count, text in ((2, "he"), (0, "")):
        answer = (await chat(client, "hey", stream=False, options={"num_predict": count})).json()
        assert (answer["message"]["content"], answer["done_reason"]) == (text, "length")


async def test_an_option_that_nothing_knows_is_ignored_and_told(client, url, caplog):
    named = {"num_predict": 1, "mirostat": 2, "a\nb": None}
    for stream in (True, False):
        answer = await chat(client, "hey", stream=stream, options=named)
        assert answer.headers["Ollmlx-Ignored"] == "options.mirostat, options.a%0Ab"
    assert "ignored: mirostat, a%0Ab" in caplog.text
    assert "Ollmlx-Ignored" not in (await chat(client, "hey", options={"seed": 1})).headers
    with Client(url) as ours, pytest.warns(Ignored, match=r"ignores options\.mirostat"):
        await asyncio.to_thread(ours.generate, "echo", "x", options=named)
    async with AsyncClient(url) as ours:
        with pytest.warns(Ignored, match=r"ignores options\.mirostat"):
            await ours.generate("echo", "x", options=named)


async def test_a_models_own_words_stand_before_a_chat_unless_it_brings_its_own(client):
    for role, words in (("user", "own|hi|hello|said|"), ("System", "hi|hello|said|")):
        body = {"model": "primed", "messages": [{"role": role, "content": "said"}]}
        answer = (await client.post("/api/chat", json={**body, "_debug_render_only": True})).json()
        assert answer["_debug_info"]["rendered_template"] == words


async def test_old_messages_give_way_where_the_window_is_full(client):
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "x" * 60},
        {"role": "assistant", "content": "y" * 61},
        {"role": "user", "content": "last"},
    ]
    body = {"model": "echo", "messages": messages, "options": {"num_ctx": 64}, "stream": False}
    body["_debug_render_only"] = True
    answer = (await client.post("/api/chat", json=body)).json()
    assert answer["_debug_info"]["rendered_template"] == "last"
    refused = await client.post(
        "/api/chat",
        json={
            **body,
            "_debug_render_only": False,
            "truncate": False,
            "messages": [{"role": "user", "content": "z" * 100}],
        },
    )
    assert refused.status_code == 400
    assert json.loads(refused.json()["error"])["error"] == {
        "code": 400,
        "message": "request (100 tokens) exceeds the available context size (64 tokens), try"
        " increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 100,
        "n_ctx": 64,
    }


async def test_thoughts_are_told_from_the_answer_unless_nobody_wants_them(client):
    said = "<think>hm</think>yes"
    answer = (await chat(client, said, model="clever", stream=False)).json()
    assert answer["message"] == {"role": "assistant", "content": "yes", "thinking": "hm"}
    plain = (await chat(client, said, model="clever", stream=False, think=False)).json()
    assert plain["message"] == {"role": "assistant", "content": said}
    body = {"model": "clever", "prompt": said, "stream": False}
    generated = (await client.post("/api/generate", json=body)).json()
    assert (generated["response"], generated["thinking"]) == ("yes", "hm")


async def test_a_format_constrains_the_answer_and_not_the_thoughts(client):
    response = await chat(client, "<think>hm</think>yes", model="clever", format="json")
    *frames, last = lines(response)
    thoughts = "".join(frame["message"].get("thinking", "") for frame in frames)
    assert thoughts == "hm"
    # The echo says its whole prompt again, and the thoughts are part of it by then.
    content = "".join(frame["message"]["content"] for frame in frames)
    assert content == "<think>hm</think>yes<think>hm</think>\n\n"
    assert last["prompt_eval_count"] == len(content)


async def test_calls_come_whole_with_ids_and_before_the_end(client):
    response = await chat(client, f"so: {CALL}", model="clever", think=False, tools=[TOOL])
    *frames, last = lines(response)
    (call,) = [c for frame in frames for c in frame["message"].get("tool_calls", [])]
    assert call["id"].startswith("call_")
    assert call["function"] == {"index": 0, "name": "f", "arguments": {"a": 1}}
    assert "".join(frame["message"]["content"] for frame in frames).strip() == "so:"
    assert last["done_reason"] == "stop"
    body = {
        "model": "clever",
        "messages": [{"role": "user", "content": CALL}],
        "tools": [TOOL],
        "reasoning_effort": "none",
    }
    choice = (await client.post("/v1/chat/completions", json=body)).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


async def test_a_model_that_only_repeats_itself_is_cut_off(client):
    response = await chat(client, "a" + " " * 100)
    assert not lines(response)[-1]["done"]


async def test_vectors_have_length_one_and_may_be_cut(client):
    body = {"model": "embedder", "input": ["ab", "abcdef"]}
    whole = (await client.post("/api/embed", json=body)).json()
    assert [round(sum(x * x for x in row), 5) for row in whole["embeddings"]] == [1, 1]
    assert whole["prompt_eval_count"] == 8
    cut = (await client.post("/api/embed", json={**body, "dimensions": 2})).json()
    assert [len(row) for row in cut["embeddings"]] == [2, 2]
    old = await client.post("/api/embeddings", json={"model": "embedder", "prompt": "ab"})
    assert old.json() == {"embedding": [2, 3, 4]}


async def test_an_error_nobody_foresaw_is_answered_too(client, monkeypatch, caplog):
    def find(name: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(MODELS, "find", find)  # a bug cannot be ordered any other way
    caplog.set_level("ERROR", "tornado")  # a command that served for itself alone has silenced it
    response = await chat(client, "hey")
    assert (response.status_code, response.json()) == (500, {"error": "internal server error"})
    assert "ZeroDivisionError" in caplog.text


async def test_methods_paths_and_slashes(client):
    assert (await client.get("/")).text == "Ollama is running"
    for path in ("/", "/api/version", "/api/tags"):
        assert (await client.head(path)).status_code == 200
    wrong = await client.get("/api/generate")
    assert (wrong.status_code, wrong.text) == (405, "405 method not allowed")
    assert wrong.headers["Allow"] == "POST"
    assert (await client.head("/api/ps")).status_code == 405
    nowhere = await client.get("/nope")
    assert (nowhere.status_code, nowhere.text) == (404, "404 page not found")
    moved = await client.get("/api/tags/")
    assert (moved.status_code, moved.headers["Location"]) == (301, "/api/tags")
    assert moved.text == '<a href="/api/tags">Moved Permanently</a>.\n\n'
    for method, path, where in (
        ("POST", "/api/chat/", "/api/chat"),
        ("HEAD", "/api/tags/?a=1&b", "/api/tags?a=1&b"),
        ("GET", "/api//tags", "/api/tags"),
    ):
        moved = await client.request(method, path)
        assert (moved.status_code, moved.headers["Location"]) == (307, where)
    assert (await client.get("/api/chat/")).status_code == 404
    for method in ("POST", "TRACE", "PROPFIND"):
        wrong = await client.request(method, "/api/tags")
        assert (wrong.status_code, wrong.headers["Allow"]) == (405, "HEAD, GET")
        assert (await client.request(method, "/nowhere")).status_code == 404
    listed, told = await client.get("/api/%74ags"), await client.head("/api/tags")
    assert told.headers["Content-Length"] == listed.headers["Content-Length"]


async def test_strangers_pages_and_rebound_names_are_kept_out(client):
    evil = await client.get("/api/tags", headers={"Origin": "http://evil.com"})
    assert (evil.status_code, evil.text) == (403, "")
    assert (await client.get("/api/tags", headers={"Host": "evil.com"})).status_code == 403
    for host in ("localhost:1", "host.docker.internal", "10.1.2.3", "[::1]:11434", "::1"):
        assert (await client.get("/api/tags", headers={"Host": host})).status_code == 200
    for host in ("[::1]", "169.254.1.1", "100.64.0.1", "localhost:1:2", "8.8.8.8"):
        assert (await client.get("/api/tags", headers={"Host": host})).status_code == 403
    mine = await client.get("/api/tags", headers={"Origin": "http://localhost:1234"})
    assert mine.headers["Access-Control-Allow-Origin"] == "http://localhost:1234"


async def test_preflights_are_answered_as_ollama_does(client):
    allowed = await client.options("/api/chat", headers={"Origin": "http://localhost:3000"})
    assert allowed.status_code == 204
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    by_name = await client.options("/api/chat", headers={"Host": "localhost"})
    assert by_name.status_code == 204
    by_address = await client.options("/api/chat", headers={"Host": "127.0.0.1"})
    assert by_address.status_code == 405
    own = {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}
    assert (await client.options("/api/chat", headers=own)).status_code == 405
    assert allowed.headers["Allow"] == "POST"


async def test_hanging_up_cancels_the_job_before_and_after_the_first_line(client, room):
    for text in ("x" * 200_000, "?"):
        async with asyncio.timeout(10):
            async with client.stream(
                "POST", "/api/generate", json={"model": "echo", "prompt": text}
            ):
                pass
    pool = room._service.engine.pool
    await until(lambda: not any(resident.users for resident in pool.residents()))


async def test_requests_sent_at_once_over_one_connection_are_answered_in_turn(url):
    body = json.dumps({"model": "echo", "prompt": "hey"}).encode()
    first = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    head = b"%s%d\r\n\r\n" % (first, len(body))
    last = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    where = httpx.URL(url)
    reader, writer = await asyncio.open_connection(where.host, where.port)
    writer.write((head + body) * 2 + last)
    async with asyncio.timeout(10):
        answers = await reader.read()
    writer.close()
    assert answers.count(b'"done":true') == 2
    assert answers.rindex(b'"done":true') < answers.index(b'"version"')


@pytest.mark.parametrize("path", ["/api/generate", "/v1/responses"])
async def test_a_stream_to_a_client_of_http_1_0_ends_with_the_connection(url, path):
    body = json.dumps({"model": "echo", "prompt": "hey", "input": "hey", "stream": True}).encode()
    head = f"POST {path} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {len(body)}\r\n\r\n"
    where = httpx.URL(url)
    reader, writer = await asyncio.open_connection(where.host, where.port)
    writer.write(head.encode() + body)
    async with asyncio.timeout(10):
        answer = (await reader.read()).lower()
    writer.close()
    assert b"connection: close" in answer
    assert b"keep-alive" not in answer
    assert answer.count(b"done") + answer.count(b"completed") > 1


async def test_a_picture_on_a_strangers_page_has_nobody_asked(client):
    afar = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    asked = {"model": "http://127.0.0.1:1/a/b", "insecure": "true"}
    there = "/api/ollmlx/estimate"
    for path in (there, "/api/%6fllmlx/estimate"):
        assert (await client.get(path, params=asked, headers=afar)).status_code == 403
    near = {**afar, "Origin": "http://localhost:3000"}
    assert (await client.get(there, params={"model": "echo"}, headers=near)).status_code == 200
    assert (await client.get("/", headers=afar)).status_code == 200


async def test_a_secret_door_serves_nothing_without_its_secret(room):
    port = room.open_door("127.0.0.1", 0, "sesame")
    async with httpx.AsyncClient(trust_env=False) as client:
        base = f"http://127.0.0.1:{port}"
        assert (await client.get(f"{base}/t/sesame/api/version")).status_code == 200
        moved = await client.get(f"{base}/t/sesame/api/tags/")
        assert moved.headers["Location"] == "/t/sesame/api/tags"
        for path in ("/api/version", "/t/simsim/api/version", "/t"):
            assert (await client.get(base + path)).status_code == 404


async def test_a_stream_from_another_loop_is_the_same_and_closing_it_cancels(room):
    from ollmlx.frames import Head, Request

    request = Request("POST", "/api/generate", {}, b'{"model":"echo","prompt":"hey"}')
    frames = [frame async for frame in room.exchange(request)]
    assert isinstance(frames[0], Head)
    assert [json.loads(frame)["response"] for frame in frames[1:]] == ["h", "e", "y", ""]
    long = Request(
        "POST", "/api/generate", {}, json.dumps({"model": "echo", "prompt": "x" * 99_999}).encode()
    )
    begun = room.exchange(long)
    await anext(begun)
    await begun.aclose()
    await until(lambda: not room.busy())


class TestOpenAI:
    async def test_errors_come_in_their_envelope(self, client):
        response = await client.post("/v1/chat/completions", json={"model": "x"})
        assert response.status_code == 400
        assert response.json()["error"] == {
            "message": "[] is too short - 'messages'",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
        empty = await client.post("/v1/completions", content="")
        assert empty.json()["error"]["message"] == "EOF"
        missing = await client.get("/v1/models/nope")
        assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")

    async def test_an_error_in_a_stream_is_an_event(self, client):
        body = {"model": "echo", "messages": [{"role": "user", "content": "a?"}], "stream": True}
        response = await client.post("/v1/chat/completions", json=body)
        last = json.loads(response.text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["message"] == "asked a question"
