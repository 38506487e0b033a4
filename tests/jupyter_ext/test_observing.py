"""What Jupyter's /metrics, its event logger and its authorizer see of the engine room."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from jupyter_server.auth import AllowAllAuthorizer
from prometheus_client import REGISTRY, generate_latest

from jupyter_ext.app import OllmlxApp
from tests.waiting import until

MODEL, REQUEST = "urn:ollmlx:events:model", "urn:ollmlx:events:request"


@pytest.fixture
def jp_server_config():
    return {"ServerApp": {"jpserver_extensions": {"tests.jupyter_ext.echoing": True}}}


@pytest.fixture(autouse=True)
async def started(extension, jp_serverapp) -> AsyncIterator[OllmlxApp]:
    """The extension after Jupyter's start hook, which pytest-jupyter leaves out."""
    await jp_serverapp.extension_manager.start_all_extensions()
    yield extension
    await extension.stop_extension()


@pytest.fixture
def authorized(token) -> dict[str, str]:
    return {"Authorization": f"token {token}"}


@pytest.fixture
def ask(call, authorized) -> Callable:
    async def ask(method: str, path: str, **body: object):
        options = {"body": json.dumps(body)} if method == "POST" else {}
        return await call(method, path, headers=authorized, **options)

    return ask


async def test_jupyters_metrics_have_the_models(ask, call, authorized):
    assert (await ask("POST", "/api/generate", model="echo", prompt="hey")).code == 200
    text = (await call("GET", "metrics", mount="", headers=authorized)).body.decode()
    assert 'ollmlx_generated_tokens_total{model="echo:latest"} 3.0\n' in text
    assert 'ollmlx_model_loaded{model="echo:latest"} 1.0\n' in text
    assert 'ollmlx_requests_total{model="echo:latest",outcome="stop"} 1.0\n' in text
    own = (await ask("GET", "/metrics")).body.decode()
    described = [line for line in text.splitlines() if line.startswith("# HELP ollmlx_")]
    assert [line for line in own.splitlines() if line.startswith("# HELP ")] == described


async def test_a_server_that_ended_is_in_nobodys_metrics(extension):
    assert b"ollmlx_loads_waiting" in generate_latest(REGISTRY)
    await extension.stop_extension()
    assert b"ollmlx_loads_waiting" not in generate_latest(REGISTRY)


async def test_jupyters_events_tell_of_models_and_answers_without_a_word_of_them(jp_serverapp, ask):
    heard: list[tuple[str, dict]] = []

    async def hear(logger: object, schema_id: str, data: dict) -> None:
        heard.append((schema_id, data))

    for schema in (MODEL, REQUEST):
        jp_serverapp.event_logger.add_listener(schema_id=schema, listener=hear)
    await ask("POST", "/api/generate", model="echo", prompt="secret")
    await ask("POST", "/api/ollmlx/unload", model="echo")
    await until(lambda: len(heard) >= 3)
    assert [(schema, data.get("action")) for schema, data in heard] == [
        (MODEL, "loaded"),
        (REQUEST, None),
        (MODEL, "unloaded"),
    ]
    about = heard[1][1]
    assert about["model"] == "echo:latest"
    assert (about["outcome"], about["prompt_tokens"], about["tokens"]) == ("stop", 6, 6)
    assert "secret" not in json.dumps(heard)


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/api/ollmlx/jobs", "read"),
        ("GET", "/api/ollmlx/telemetry", "read"),
        ("GET", "/metrics", "read"),
        ("POST", "/api/ollmlx/jobs", "write"),
        ("POST", "/api/ollmlx/jobs/x/pause", "write"),
        ("DELETE", "/api/ollmlx/jobs/x", "write"),
        ("POST", "/api/ollmlx/keep", "execute"),
        ("POST", "/api/%70ull", "write"),
    ],
)
async def test_the_authorizer_tells_reading_from_writing(
    jp_serverapp, ask, monkeypatch, method, path, action
):
    asked = []

    class Asking(AllowAllAuthorizer):
        def is_authorized(self, handler, user, action, resource):
            asked.append((action, resource))
            return False

    # There is no other way to put an authorizer into a server that runs.
    settings = jp_serverapp.web_app.settings
    monkeypatch.setitem(settings, "authorizer", Asking(parent=jp_serverapp))
    assert (await ask(method, path)).code == 403
    assert asked == [(action, "ollmlx")]


async def test_the_stream_of_changes_is_not_work(extension, call, authorized):
    first = asyncio.Event()
    stream = asyncio.ensure_future(
        call(
            "GET",
            "/api/ollmlx/events",
            headers=authorized,
            streaming_callback=lambda chunk: first.set(),
        )
    )
    await asyncio.wait_for(first.wait(), 20)
    assert not extension.current_activity()
    stream.cancel()
