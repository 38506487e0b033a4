"""Finding the server: which rule wins, what is shown to it, and what is said when there is none."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import ollmlx
from ollmlx import servers
from tests.stand_in import StandIn, standing_in

TOKEN = "a-token"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Jupyter runtime folder, and nobody on Ollama's usual port.

    Whether something listens on 11434 is up to the machine the tests run on: the constant is
    pointed at a port where nobody can be.
    """
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(servers, "DEFAULT_URL", "http://127.0.0.1:1")
    return tmp_path


def note(runtime: Path, pid: int, url: str, mount: str = "") -> None:
    text = json.dumps({"url": url, "mount": mount or url, "door_port": None, "pid": pid})
    (runtime / f"ollmlx-{pid}.json").write_text(text)


@pytest.fixture
def mounted(runtime: Path) -> Iterator[StandIn]:
    """A Jupyter server of pid 77 with the API at /user/ann/ollama, behind its token."""
    with standing_in("/user/ann/ollama", TOKEN) as server:
        url = server.url.removesuffix("ollama")
        (runtime / "jpserver-77.json").write_text(json.dumps({"url": url, "token": TOKEN}))
        yield server


@pytest.fixture
def noted(runtime: Path) -> Iterator[StandIn]:
    """A server that left a note in the runtime folder."""
    with standing_in() as server:
        note(runtime, 88, server.url)
        yield server


def test_an_address_given_wins_and_is_not_questioned(mounted: StandIn):
    found = servers.find("box:1234/ollama/", {"OLLMLX_HOST": "other", "JPY_PARENT_PID": "77"})
    assert found.url == "http://box:1234/ollama"


def test_ollmlx_host_is_next(mounted: StandIn):
    found = servers.find(None, {"OLLMLX_HOST": ":8000", "JPY_PARENT_PID": "77"})
    assert (found.url, found.rule) == ("http://127.0.0.1:8000", "OLLMLX_HOST")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("http://x:to%2Fken@box:8888/ollama", "Basic eDp0by9rZW4="),
        ("x:to%2Fken@box:8888/ollama", "Basic eDp0by9rZW4="),
        ("http://box:8888/ollama", "Bearer key"),
    ],
)
def test_a_server_that_is_named_is_shown_the_password_of_its_address_or_the_key(
    host: str, shown: str
):
    found = servers.find(host, {"OLLAMA_API_KEY": "key"})
    assert found.url == found.place == "http://box:8888/ollama"
    assert found.headers == {"Authorization": shown}


def test_a_kernel_finds_its_own_jupyter_server_and_shows_its_token(
    mounted: StandIn, noted: StandIn
):
    found = servers.find(None, {"JPY_PARENT_PID": "77", "OLLAMA_HOST": noted.url})
    assert found.url == mounted.url
    assert found.headers == {"Authorization": f"Bearer {TOKEN}"}
    assert TOKEN not in repr(found)


def test_a_jupyter_server_without_the_extension_is_passed_over(runtime: Path, noted: StandIn):
    jupyter = json.dumps({"url": noted.url + "/", "token": TOKEN})
    (runtime / "jpserver-77.json").write_text(jupyter)
    assert servers.find(None, {"JPY_PARENT_PID": "77"}).rule == "its note ollmlx-88.json"


def test_a_server_without_a_token_is_found_by_the_secret_it_noted_and_that_is_not_shown(
    runtime: Path,
):
    with standing_in("/ollama/t/hushhush") as server:
        jupyter = {"url": server.url.removesuffix("ollama/t/hushhush"), "token": ""}
        (runtime / "jpserver-77.json").write_text(json.dumps(jupyter))
        note(runtime, 77, server.url, server.url.removesuffix("/t/hushhush"))
        found = servers.find(None, {"JPY_PARENT_PID": "77"})
    assert found.url == server.url
    assert "hushhush" not in found.place + repr(found)
    with pytest.raises(servers.NoServer) as caught:
        servers.find(None, {"JPY_PARENT_PID": "77"})
    assert "hushhush" not in str(caught.value)


def test_a_mount_under_another_name_is_found(runtime: Path):
    with standing_in("/models", TOKEN) as server:
        jupyter = {"url": server.url.removesuffix("models"), "token": TOKEN}
        (runtime / "jpserver-77.json").write_text(json.dumps(jupyter))
        note(runtime, 77, "http://127.0.0.1:1", server.url)
        assert servers.find(None, {"JPY_PARENT_PID": "77"}).url == server.url


def test_a_note_of_a_server_that_is_gone_is_passed_over(runtime: Path, noted: StandIn):
    note(runtime, 99, "http://127.0.0.1:1")
    (runtime / "ollmlx-98.json").write_text('{"url": "http://127.0')
    assert servers.find(None, {}).url == noted.url


def test_ollama_host_is_asked_before_its_usual_port(runtime: Path):
    with standing_in() as server:
        assert servers.find(None, {"OLLAMA_HOST": server.url}).rule == "OLLAMA_HOST"


def test_when_nothing_answers_the_error_says_how_to_start_a_server(runtime: Path):
    with pytest.raises(ollmlx.NoServer, match=r"`jupyter lab` or `ollmlx serve`") as caught:
        servers.find(None, {"OLLAMA_HOST": "http://127.0.0.1:1/nowhere"})
    assert "http://127.0.0.1:1/nowhere" in str(caught.value)


def test_the_official_client_speaks_with_the_token(
    mounted: StandIn, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JPY_PARENT_PID", "77")
    monkeypatch.delenv("OLLMLX_HOST", raising=False)
    with ollmlx.Client(headers={"X-Mine": "1"}) as made:
        assert made.list().models[0].model == "m:1b"


async def test_so_does_its_asynchronous_twin(mounted: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JPY_PARENT_PID", "77")
    monkeypatch.delenv("OLLMLX_HOST", raising=False)
    async with ollmlx.AsyncClient() as made:
        assert (await made.list()).models[0].model == "m:1b"


def test_clients_share_what_was_read_of_authorities(mounted: StandIn):
    first, second = (servers.find(mounted.url).options for _ in range(2))
    assert first["verify"] is second["verify"]


def test_no_proxy_stands_before_this_machine(noted: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert servers.find(None, {}).answers()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("https://hub.example/user/ann/ollama/", "https://hub.example:443/user/ann/ollama"),
        ("[2001:db8::7]:99", "http://[2001:db8::7]:99"),
    ],
)
def test_an_address_may_be_short(written: str, meant: str):
    assert servers.base_url(written) == meant
