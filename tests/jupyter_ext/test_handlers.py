"""What the handlers owe whatever the room answers: framing, hanging up, sizes, paths, logs."""

import asyncio
import json
import logging

import pytest

from tests.jupyter_ext.scripted import ScriptedRoom


@pytest.fixture
def key(token) -> dict[str, str]:
    return {"x-api-key": token}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH"])
async def test_every_method_reaches_the_room_with_its_path_and_body(call, key, method):
    body = None if method == "GET" else "what?"
    response = await call(method, "/v1/models/hf.co%2Fa%2Fb", headers=key, body=body)
    said = json.loads(response.body)
    assert (said["method"], said["path"]) == (method, "/v1/models/hf.co%2Fa%2Fb")
    assert said["body"] == (body or "")
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert int(response.headers["Content-Length"]) == len(response.body)


async def test_a_query_reaches_the_room_without_jupyters_token(call, room, token):
    await call("GET", f"/api/show?model=a%2Fb&token={token}")
    assert [(request.path, request.query) for request in room.asked] == [
        ("/api/show", "model=a%2Fb")
    ]


@pytest.mark.parametrize("path", ["", "/"])
async def test_the_heartbeat_of_ollamas_client_is_answered(call, key, room, path):
    response = await call("HEAD", path, headers=key)
    assert (response.code, response.body) == (200, b"")
    assert [(request.method, request.path) for request in room.asked] == [("HEAD", "/")]


async def test_a_line_arrives_before_the_next_one_is_made(call, key, room):
    lines: list[bytes] = []

    def take(chunk: bytes) -> None:
        lines.append(chunk)
        room.go_on.set()

    await call("GET", "/stream", headers=key, streaming_callback=take)
    assert lines == [b"1\n", b"2\n"]


@pytest.mark.parametrize("path", ["/hang", "/stream"])
async def test_hanging_up_closes_the_request_in_the_room(
    jp_http_port, jp_serverapp, http_server, key, room: ScriptedRoom, path
):
    reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
    head = f"POST {jp_serverapp.base_url}ollama{path} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"X-Api-Key: {key['x-api-key']}\r\nContent-Length: 2\r\n\r\n" + "{}"
    writer.write(head.encode())
    await room.began.wait()
    if path == "/stream":
        await reader.readuntil(b"1\n")
    assert not room.ended.is_set()
    writer.close()
    await asyncio.wait_for(room.ended.wait(), 5)


async def test_a_redirect_stays_below_the_mount(call, key, extension, jp_base_url):
    response = await call("GET", "/moved/", headers=key)
    assert (response.code, response.headers["Location"]) == (301, f"{jp_base_url}ollama/moved")
    response = await call("GET", f"/t/{extension.secret}/moved/")
    assert response.headers["Location"] == f"{jp_base_url}ollama/t/{extension.secret}/moved"


class TestSizes:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["ServerApp"]["max_body_size"] = 100
        jp_server_config["OllmlxApp"]["max_body"] = 3_000_000
        return jp_server_config

    async def test_jupyters_limit_for_notebooks_does_not_bind(self, call, key):
        response = await call("POST", "/api/chat", headers=key, body="x" * 2_900_000)
        assert len(json.loads(response.body)["body"]) == 2_900_000

    async def test_a_body_over_our_own_limit_is_refused_with_a_reason(self, call, key, room):
        response = await call("POST", "/api/chat", headers=key, body="x" * 3_000_001)
        assert response.code == 413
        assert json.loads(response.body) == {"error": "request body is larger than 3000000 bytes"}
        assert room.asked == []

    async def test_a_models_file_is_not_limited_and_never_held_whole(self, call, key, room):
        path = f"/api/blobs/sha256:{'0' * 64}"
        response = await call("POST", path, headers=key, body="x" * 4_000_000)
        assert (response.code, response.body, room.uploaded) == (201, b"", 4_000_000)
        assert room.asked[0].body == b""

    async def test_a_client_that_leaves_an_upload_ends_it(
        self, jp_http_port, jp_serverapp, http_server, key, room
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
        path = f"{jp_serverapp.base_url}ollama/api/blobs/sha256:{'0' * 64}"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n"
        writer.write(f"{head}X-Api-Key: {key['x-api-key']}\r\n\r\nxxx".encode())
        await room.began.wait()
        writer.close()
        await asyncio.wait_for(room.ended.wait(), 5)

    async def test_a_stranger_cannot_make_the_server_read_a_large_body(
        self, jp_http_port, jp_serverapp, http_server
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
        head = f"POST {jp_serverapp.base_url}ollama/api/chat HTTP/1.1\r\nHost: localhost\r\n"
        writer.write(f"{head}Content-Length: 2900000\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 403")
        writer.close()


async def test_work_is_told_to_idle_cullers_and_looking_is_not(call, key, jp_serverapp):
    settings = jp_serverapp.web_app.settings
    await call("GET", "/api/tags", headers=key)
    await call("POST", "/api/show", headers=key)
    assert "ollmlx_last_activity" not in settings
    await call("POST", "/api/chat", headers=key)
    assert jp_serverapp.web_app.last_activity() == settings["ollmlx_last_activity"]


async def test_neither_token_nor_secret_reaches_a_log(call, extension, token, caplog):
    secret = extension.secret
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    await call("GET", f"/t/{secret}/api/tags")
    await call("POST", f"/t/{secret}/api/chat", headers={"Origin": "http://evil.com"})
    await call("POST", f"/t/{secret}/api/chat", headers={"Host": "evil.com"})
    await call("GET", f"/t/{secret}x/api/tags")
    await call("GET", f"lab/t/{secret}/api/tags", mount="")
    referer = {"Referer": f"http://localhost/ollama/t/{secret}/"}
    await call("GET", "/api/tags", headers=referer)
    await call("GET", f"/api/tags?token={token}")
    await call("GET", "/api/tags", headers={"Authorization": f"Bearer {token}"})
    assert "[secret]" in caplog.text
    assert secret not in caplog.text
    assert token not in caplog.text


async def test_without_the_root_mount_jupyters_root_is_untouched(call, key, room):
    assert (await call("GET", "api/tags", mount="", headers=key)).code == 404
    assert (await call("POST", "v1/chat/completions", mount="", headers=key)).code in (403, 404)
    assert room.asked == []


class TestAtRoot:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["OllmlxApp"]["mount_at_root"] = True
        return jp_server_config

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("HEAD", "/"),
            ("POST", "/api/chat"),
            ("GET", "/api/tags"),
            ("POST", "/api/me"),
            ("POST", "/v1/chat/completions"),
        ],
    )
    async def test_ollamas_paths_reach_the_room(self, call, key, room, method, path):
        assert (await call(method, path[1:], mount="", headers=key)).code == 200
        assert [(request.method, request.path) for request in room.asked] == [(method, path)]

    async def test_the_secret_path_works_there_too(self, call, room, extension):
        assert (await call("POST", f"t/{extension.secret}/api/chat", mount="")).code == 200
        assert room.asked[0].path == "/api/chat"

    @pytest.mark.parametrize("path", ["", "api/status", "api/me", "api/contents", "api"])
    async def test_jupyters_own_answers_stay(self, call, key, room, token, path):
        response = await call("GET", path, mount="", headers={"Authorization": f"token {token}"})
        assert response.code in (200, 302)
        assert room.asked == []
