"""The stream of changes, telemetry and what is done to models by hand, with echo models."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from ollmlx.engine import fit
from ollmlx.settings import Settings
from tests.echo import EchoLibrary, echo_model
from tests.serving import served

MODELS = (
    echo_model(),
    echo_model("slow:latest", path="slow"),
    echo_model("bad:latest", path="nowhere"),
)
LONG = "xy" * 2000


@pytest.fixture
def url() -> Iterator[str]:
    with served(Settings(num_parallel=2), EchoLibrary(*MODELS)) as url:
        yield url


class Watching:
    """A client of the stream that keeps the tables as the documentation says."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.tables: dict[str, dict[str, Any]] = {"jobs": {}, "models": {}, "running": {}}
        self.telemetry: dict[str, Any] = {}
        self.seen: list[str] = []

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(60):
            while not holds(self):
                self._take(json.loads(await anext(self._lines)))

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        self.seen.append(kind)
        if kind == "telemetry":
            self.telemetry = {model["model"]: model for model in event["telemetry"]["models"]}
        elif kind != "ping":
            key = "id" if kind == "jobs" else "name"
            table = {} if event["whole"] else self.tables[kind]
            self.tables[kind] = table | {item[key]: item for item in event["changed"]}
            for gone in event["removed"]:
                del self.tables[kind][gone]

    def status(self, name: str) -> str:
        return self.tables["running"].get(name, {}).get("status", "gone")


@asynccontextmanager
async def watching(client: httpx.AsyncClient) -> AsyncIterator[Watching]:
    async with client.stream("GET", "/api/ollmlx/events") as answer:
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        yield Watching(answer.aiter_lines())


async def post(client: httpx.AsyncClient, route: str, **body: object) -> httpx.Response:
    return await client.post(f"/api/ollmlx/{route}", json=body)


async def test_the_stream_begins_with_all_there_is(client):
    async with watching(client) as watch:
        await watch.until(lambda w: {"jobs", "models", "running", "telemetry"} <= {*w.seen})
    assert set(watch.tables["models"]) == {"echo:latest", "slow:latest", "bad:latest"}
    assert (watch.tables["jobs"], watch.tables["running"]) == ({}, {})


async def test_what_others_load_and_unload_is_seen(client):
    async with watching(client) as watch:
        await client.post("/api/generate", json={"model": "echo", "prompt": "hey"})
        await watch.until(lambda w: w.status("echo:latest") == "ready")
        await watch.until(lambda w: w.telemetry.get("echo:latest", {}).get("requests"))
        counted = watch.telemetry["echo:latest"]
        assert (counted["prompt_tokens"], counted["generated_tokens"]) == (3, 3)
        assert (counted["loads"], counted["kv_tokens"], counted["running"]) == (1, 0, 0)
        await post(client, "unload", model="echo")
        await watch.until(lambda w: w.status("echo:latest") == "gone")


async def test_named_events_are_for_browsers(client):
    async with client.stream("GET", "/api/ollmlx/events?sse=true") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: jobs"
        assert (await anext(lines)).startswith('data: {"whole":true,')


async def test_telemetry_shows_answers_under_way(client):
    answers = [
        asyncio.ensure_future(client.post("/api/generate", json={"model": "echo", "prompt": LONG}))
        for _ in range(3)
    ]
    async with watching(client) as watch:
        await watch.until(lambda w: w.telemetry.get("echo:latest", {}).get("tokens_per_second"))
    now = watch.telemetry["echo:latest"]
    assert (now["running"], now["waiting"], now["batch"]) == (3, 1, 2)
    assert 0 < now["kv_tokens"] <= now["kv_capacity"] == 2 * 4096
    assert now["memory"] > 1 << 20
    for answer in answers:
        answer.cancel()
    async with watching(client) as watch:
        await watch.until(lambda w: w.telemetry.get("echo:latest", {}).get("cancelled") == 3)
    assert watch.telemetry["echo:latest"]["running"] == 0


def test_the_capacity_of_a_shared_cache_is_that_of_its_cells(toy, monkeypatch):
    monkeypatch.setattr(fit, "CACHE_SHARE", 0)  # as if memory had room for one window
    library = EchoLibrary(echo_model(path=str(toy.gguf), format="gguf"))
    asked = {"model": "echo", "prompt": "hey", "options": {"num_ctx": 64, "num_predict": 1}}
    with served(Settings(), library) as url:
        assert httpx.post(f"{url}/api/generate", json=asked, timeout=60).is_success
        (now,) = httpx.get(f"{url}/api/ollmlx/telemetry").json()["models"]
    assert now["kv_capacity"] == 64


async def test_failures_are_counted(client):
    await client.post("/api/generate", json={"model": "echo", "prompt": "?"})
    await client.post("/api/generate", json={"model": "bad", "prompt": "hey"})
    counted = (await client.get("/api/ollmlx/telemetry")).json()["models"]
    assert [(m["model"], m["failures"], m["failed_loads"]) for m in counted] == [
        ("echo:latest", 1, 0),
        ("bad:latest", 0, 1),
    ]
    text = (await client.get("/metrics")).text
    assert 'ollmlx_requests_total{model="echo:latest",outcome="failed"} 1.0\n' in text
    assert 'ollmlx_model_load_failures_total{model="bad:latest"} 1.0\n' in text


async def test_a_load_can_be_stopped_and_who_waits_is_told(client):
    async with watching(client) as watch:
        waiting = asyncio.ensure_future(
            client.post("/api/generate", json={"model": "slow", "prompt": "hey"})
        )
        await watch.until(lambda w: w.status("slow:latest") == "loading")
        await post(client, "unload", model="slow", now=True)
        answer = await waiting
        assert (answer.status_code, answer.json()) == (499, {"error": "the load was stopped"})
        await watch.until(lambda w: w.status("slow:latest") == "gone")


async def test_running_answers_can_be_ended(client):
    async with client.stream(
        "POST", "/api/generate", json={"model": "echo", "prompt": LONG}
    ) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        await post(client, "unload", model="echo", now=True)
        last = [json.loads(line) async for line in lines][-1]
    assert last == {"error": "the model was unloaded before it had answered"}


async def test_a_load_tells_percents(client):
    answer = await post(client, "load", model="echo", keep_alive=-1)
    frames = [json.loads(line) for line in answer.text.splitlines()]
    assert {frame["status"] for frame in frames[:-1]} <= {"waiting", "loading"}
    assert frames[-1] == {"status": "success"}
    (model,) = (await client.get("/api/ollmlx/running")).json()["models"]
    assert (model["name"], model["pinned"], model["expires_at"]) == ("echo:latest", True, "")


async def test_a_loaded_model_is_pinned_and_let_go_without_a_load(client):
    assert (await post(client, "keep", model="echo", keep_alive=-1)).status_code == 404
    await client.post("/api/generate", json={"model": "echo", "options": {"num_ctx": 64}})
    before = (await client.get("/api/ollmlx/running")).json()["models"][0]
    assert not before["pinned"]
    await post(client, "keep", model="echo", keep_alive=-1)
    (pinned,) = (await client.get("/api/ollmlx/running")).json()["models"]
    assert pinned == {**before, "pinned": True, "expires_at": ""}
    await post(client, "keep", model="echo", keep_alive="0s")
    assert (await client.get("/api/ollmlx/running")).json() == {"models": []}


async def test_a_load_that_does_not_fit_is_refused_unless_it_is_wanted_anyway(client, monkeypatch):
    # No model of a test is larger than the memory.
    monkeypatch.setattr(fit, "free_memory", lambda: 1 << 20)
    asked = {"model": "echo", "num_ctx": 512}
    estimate = (await client.get("/api/ollmlx/estimate", params=asked)).json()
    assert (estimate["fits"], estimate["installed"], estimate["free"]) == (False, True, 1 << 20)
    assert estimate["needed"] == estimate["weights"] + estimate["cache"] + estimate["overhead"]
    assert estimate["arithmetic"].endswith("0.0 GiB are free")
    refused = await post(client, "load", model="echo", stream=False)
    assert refused.status_code == 500
    assert refused.json()["error"].startswith("model requires 0.3 GiB but only 0.0 GiB")
    forced = await post(client, "load", model="echo", stream=False, anyway=True)
    assert forced.json() == {"status": "success"}


async def test_search_without_a_hub_still_has_the_table(client, monkeypatch):
    # huggingface_hub reads its variable once, at import.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = (await client.get("/api/ollmlx/search", params={"q": "llama 1b"})).json()
    assert [model["name"] for model in found["models"]] == ["llama3.2:1b-mlx"]
    assert found["hub_error"] == "the hub cannot be searched: HF_HUB_OFFLINE is set"
    refused = await client.get("/api/ollmlx/search", params={"limit": 0})
    assert refused.json() == {"error": "limit must be between 1 and 100"}
