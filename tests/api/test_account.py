"""The account at ollama.com, asked for through the open door: a server of our own stands for the
site.
"""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from ollmlx.api import account
from ollmlx.store.places.shortnames import SHORT_NAMES

USER = {"id": "0-1", "email": "me@example.org", "name": "me", "extra": 1}


@dataclass
class Site:
    """What it answers, and who asked for what."""

    status: int = 200
    answer: object = field(default_factory=lambda: USER)
    asked: list[str] = field(default_factory=list)


def signed_by(header: str, text: str) -> bool:
    key, _, signature = header.partition(":")
    public = load_ssh_public_key(f"ssh-ed25519 {key}".encode())
    assert isinstance(public, Ed25519PublicKey)
    try:
        public.verify(base64.b64decode(signature), text.encode())
    except InvalidSignature:
        return False
    return True


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def _answer(self) -> None:
        assert signed_by(self.headers["Authorization"], f"{self.command},{self.path}")
        self.site.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        self.send_response(self.site.status)
        self.end_headers()
        self.wfile.write(json.dumps(self.site.answer).encode())

    do_POST = do_DELETE = _answer  # noqa: N815  # the names http.server wants


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    class Own(Handler):
        """A class of its own, since http.server makes an object for each connection."""

    Own.site = Site()
    monkeypatch.setenv("HOME", str(tmp_path))
    with HTTPServer(("127.0.0.1", 0), Own) as server:
        # ollama.com itself is not to be asked by tests.
        monkeypatch.setattr(account, "SITE", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Own.site
        server.shutdown()
        thread.join()


def encoded_key(home: Path) -> str:
    public = (home / ".ollama/id_ed25519.pub").read_bytes().strip()
    return base64.urlsafe_b64encode(public).decode().rstrip("=")


async def test_who_has_an_account_is_told_so(client, site):
    answer = await client.post("/api/me")
    assert answer.status_code == 200
    assert answer.text == '{"id":"0-1","email":"me@example.org","name":"me","plan":"free"}'
    assert site.asked == ["POST /api/me"]


@pytest.mark.parametrize(
    ("status", "answer"), [(401, {"error": "no"}), (200, {**USER, "name": ""})]
)
async def test_who_has_none_is_told_where_to_get_one(client, site, tmp_path, status, answer):
    site.status, site.answer = status, answer
    told = await client.post("/api/me")
    assert told.status_code == 401
    assert told.json()["error"] == "unauthorized"
    address = httpx.URL(told.json()["signin_url"])
    assert str(address).startswith(f"{account.SITE}/connect?name=")
    assert address.params["key"] == encoded_key(tmp_path)


async def test_an_address_that_the_site_gives_is_passed_on(client, site):
    site.status, site.answer = 401, {"signin_url": "https://example.org/x"}
    assert (await client.post("/api/me")).json()["signin_url"] == "https://example.org/x"


@pytest.mark.parametrize(("status", "answer"), [(500, {}), (200, []), (200, {"name": 1})])
async def test_a_site_that_says_something_else_is_unavailable(client, site, status, answer):
    site.status, site.answer = status, answer
    told = await client.post("/api/me")
    assert (told.status_code, told.json()) == (503, {"error": "account unavailable"})


async def test_a_site_that_nobody_reaches_is_unavailable(client, site, monkeypatch):
    monkeypatch.setattr(account, "SITE", "http://127.0.0.1:1")  # as above
    told = await client.post("/api/me")
    assert (told.status_code, told.json()) == (503, {"error": "account unavailable"})
    told = await client.post("/api/signout")
    assert (told.status_code, told.json()) == (500, {"error": "there was an error signing out"})


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/signout"), ("DELETE", "/api/user/keys/any")]
)
async def test_signing_out_forgets_the_users_key(client, site, tmp_path, method, path):
    told = await client.request(method, path)
    assert (told.status_code, told.text) == (200, "null")
    assert site.asked == [f"DELETE /api/user/keys/{encoded_key(tmp_path)}"]
    site.status = 401
    told = await client.request(method, path)
    assert (told.status_code, told.json()) == (401, {"error": "you are not currently signed in"})


@pytest.mark.parametrize("service", ["search", "fetch"])
async def test_services_of_the_cloud_are_disabled(client, service):
    path = f"/api/experimental/web_{service}"
    told = await client.post(path)
    assert (told.status_code, told.json()) == (400, {"error": "missing request body"})
    told = await client.post(path, json={"query": "x", "max_results": 3})
    error = f"ollama cloud is disabled: web {service} is unavailable"
    assert (told.status_code, told.json()) == (403, {"error": error})


async def test_models_are_recommended_that_can_be_pulled(client):
    told = (await client.get("/api/experimental/model-recommendations")).json()["recommendations"]
    assert [model["model"] for model in told] == [short.name for short in SHORT_NAMES]
    assert told[2]["vram_bytes"] == 700_000_000
