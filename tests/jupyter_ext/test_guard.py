"""Who may come in, and how those are told who may not."""

import base64
import json

import pytest
from jupyter_server.auth import Authorizer

EVIL = "http://evil.com"


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


FORMS = {
    "ollama-python": lambda token: {"Authorization": f"Bearer {token}"},
    "jupyter": lambda token: {"Authorization": f"token {token}"},
    "anthropic": lambda token: {"x-api-key": token},
    "password in the address": lambda token: {"Authorization": basic(f"me:{token}")},
    "user in the address": lambda token: {"Authorization": basic(f"{token}:")},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
async def test_a_token_opens_in_every_form_clients_send_it(call, token, form, method):
    response = await call(method, "/api/tags", headers=FORMS[form](token))
    assert response.code == 200


@pytest.mark.parametrize("form", FORMS)
async def test_a_wrong_token_opens_in_no_form(call, room, form):
    response = await call("POST", "/api/chat", headers=FORMS[form]("wrong"))
    assert (response.code, room.asked) == (403, [])


async def test_a_token_in_the_query_opens(call, token):
    assert (await call("POST", f"/api/chat?token={token}")).code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_without_credentials_a_program_gets_a_reason_not_a_login_page(call, room, method):
    response = await call(method, "/api/tags")
    assert response.code == 403
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body)["error"].startswith("authentication required: send")
    assert room.asked == []


async def test_a_refusal_is_written_as_the_api_asked_for_writes_errors(call):
    openai = json.loads((await call("POST", "/v1/chat/completions")).body)["error"]
    assert openai["type"] == "authentication_error"
    assert openai["message"].startswith("authentication required")
    anthropic = json.loads((await call("POST", "/v1/messages")).body)
    assert (anthropic["type"], anthropic["error"]["type"]) == ("error", "authentication_error")
    assert anthropic["request_id"].startswith("req_")
    version = {"anthropic-version": "2023-06-01"}
    models = json.loads((await call("GET", "/v1/models", headers=version)).body)
    assert models["error"] == anthropic["error"]


async def test_a_refusal_shows_a_percent_sign_once(call, extension):
    headers = {"Origin": "http://100%.com"}
    response = await call("POST", f"/t/{extension.secret}/api/chat", headers=headers)
    assert json.loads(response.body) == {"error": "origin http://100%.com is not allowed"}


async def test_the_secret_path_opens_and_is_gone_from_what_the_room_sees(call, room, extension):
    response = await call("POST", f"/t/{extension.secret}/api/chat", body="hi")
    assert json.loads(response.body)["path"] == "/api/chat"
    assert [request.path for request in room.asked] == ["/api/chat"]


@pytest.mark.parametrize("path", ["", "/"])
async def test_the_secret_alone_is_the_root(call, extension, path):
    response = await call("GET", f"/t/{extension.secret}{path}")
    assert json.loads(response.body)["path"] == "/"


@pytest.mark.parametrize("secret", ["", "wrong", "%C3%BC", "ü"])
async def test_a_wrong_secret_opens_nothing(call, room, secret):
    assert (await call("GET", f"/t/{secret}/api/tags")).code == 403
    assert room.asked == []


async def test_the_room_sees_no_credentials(call, token, room):
    await call("POST", "/api/chat", headers={"Authorization": f"Bearer {token}", "Cookie": "a=b"})
    await call("POST", "/api/chat", headers={"x-api-key": token})
    for request in room.asked:
        assert token not in str(request.headers)
        assert "cookie" not in request.headers


async def test_an_api_sets_no_cookies_and_writes_no_empty_cors_header(call, token):
    response = await call("POST", "/api/chat", headers={"Authorization": f"Bearer {token}"})
    assert "Set-Cookie" not in response.headers
    assert "Access-Control-Allow-Origin" not in response.headers


async def cookies(call, token: str) -> str:
    """What a browser holds after its first page: a login cookie and an XSRF token."""
    page = await call("GET", f"api/status?token={token}", mount="")
    login = page.headers["Set-Cookie"].split(";")[0]
    return f"{login}; _xsrf=00ff"


async def test_a_page_of_jupyter_itself_comes_in_by_cookie(call, token):
    headers = {"Cookie": await cookies(call, token)}
    assert (await call("GET", "/api/tags", headers=headers)).code == 200
    headers["X-XSRFToken"] = "00ff"
    assert (await call("POST", "/api/chat", headers=headers)).code == 200


async def test_a_cookie_without_the_xsrf_token_may_not_write(call, token):
    response = await call("POST", "/api/chat", headers={"Cookie": await cookies(call, token)})
    assert response.code == 403
    assert "_xsrf" in json.loads(response.body)["error"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_cookie_carried_by_another_page_is_refused(call, token, method):
    headers = {"Cookie": await cookies(call, token), "X-XSRFToken": "00ff", "Origin": EVIL}
    response = await call(method, "/api/chat", headers=headers)
    assert response.code == 403
    assert json.loads(response.body) == {"error": f"origin {EVIL} is not allowed"}


async def test_a_token_decides_alone_wherever_the_page_came_from(call, token):
    headers = {"Authorization": f"Bearer {token}", "Origin": EVIL}
    response = await call("POST", "/api/chat", headers=headers)
    assert response.code == 200
    assert response.headers["Access-Control-Allow-Origin"] == EVIL
    assert response.headers["Vary"] == "Origin"


async def test_an_address_with_the_secret_is_not_enough_for_a_strange_page(call, room, extension):
    path = f"/t/{extension.secret}/api/chat"
    strange = {"Origin": EVIL, "Content-Type": "text/plain"}
    assert (await call("POST", path, headers=strange)).code == 403
    assert room.asked == []
    near = await call("POST", path, headers={"Origin": "http://localhost:3000"})
    assert near.code == 200
    assert near.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("host.docker.internal:8888", 200),
        ("box.local", 200),
        ("10.0.0.7:8888", 200),
        ("friend.example", 200),
        ("evil.com", 403),
    ],
)
async def test_names_of_this_machine_are_answered_and_rebound_ones_are_not(
    call, extension, token, host, code
):
    headers = {"Authorization": f"Bearer {token}", "Host": host}
    assert (await call("GET", "/api/tags", headers=headers)).code == code
    path = f"/t/{extension.secret}/api/tags"
    assert (await call("GET", path, headers={"Host": host})).code == code


async def preflight(call, origin: str, announced: str):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": announced,
    }
    return await call("OPTIONS", "/api/chat", headers=headers)


async def test_a_preflight_from_ollamas_origins_is_allowed(call):
    response = await preflight(call, "http://localhost:5173", "content-type")
    assert response.code == 204
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "X-Stainless-Lang" in response.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("announced", ["authorization, content-type", "Content-Type,X-Api-Key"])
async def test_a_preflight_that_announces_a_token_is_allowed_from_anywhere(call, announced):
    response = await preflight(call, EVIL, announced)
    assert response.code == 204
    assert response.headers.get_list("Access-Control-Allow-Origin") == [EVIL]


async def test_a_preflight_from_a_strange_page_is_refused(call):
    response = await preflight(call, EVIL, "content-type")
    assert response.code == 403
    assert "Access-Control-Allow-Origin" not in response.headers


class TestWithoutAuthentication:
    """A server started with an empty token."""

    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["ServerApp"]["token"] = ""
        return jp_server_config

    async def test_a_program_on_this_machine_needs_no_cookie(self, call):
        assert (await call("POST", "/api/chat")).code == 200

    async def test_a_page_of_this_server_may_write(self, call, jp_http_port):
        origin = f"http://127.0.0.1:{jp_http_port}"
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        assert (await call("POST", "/api/chat", headers=headers)).code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": EVIL, "Content-Type": "text/plain"},
            {"Sec-Fetch-Site": "cross-site"},
            {"X-Forwarded-For": "1.2.3.4"},
            {"Forwarded": "for=1.2.3.4"},
        ],
        ids=lambda headers: next(iter(headers)),
    )
    async def test_others_still_need_the_xsrf_token(self, call, room, headers):
        assert (await call("POST", "/api/chat", headers=headers)).code == 403
        assert room.asked == []


async def test_unauthenticated_access_switched_off_for_the_server_changes_nothing(
    call, token, jp_serverapp
):
    jp_serverapp.web_app.settings["allow_unauthenticated_access"] = False
    assert (await call("GET", "/api/tags")).code == 403
    assert (await call("POST", "/api/chat", headers={"x-api-key": token})).code == 200
    assert (await preflight(call, "http://localhost", "")).code == 204


class OnlyReads(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        assert resource == "ollmlx"
        return action == "read"


class TestWithAnAuthorizer:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["ServerApp"]["authorizer_class"] = OnlyReads
        return jp_server_config

    @pytest.mark.parametrize(
        ("method", "path", "code"),
        [
            ("GET", "/api/tags", 200),
            ("POST", "/api/show", 200),
            ("POST", "/api/chat", 403),
            ("POST", "/api/pull", 403),
            ("DELETE", "/api/delete", 403),
            ("POST", "/v1/chat/completions", 403),
        ],
    )
    async def test_looking_changing_and_running_are_told_apart(
        self, call, token, method, path, code
    ):
        assert (await call(method, path, headers={"x-api-key": token})).code == code
