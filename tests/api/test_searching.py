"""What there is to pull and what it would take, before it is pulled."""

import json

import httpx
import pytest

from ollmlx.engine import fit
from ollmlx.settings import Settings
from tests.hub import CHANGED, Repository
from tests.misbehaving import misbehaving
from tests.serving import served
from tests.store.shelf import write_gguf, write_mlx

SIZE = 5000
GGUF = {"w.Q8_0.gguf": b"x" * SIZE}


@pytest.fixture
def url(root):
    with served(Settings(models=root, embedded=False, num_parallel=2)) as url:
        yield url


async def estimated(client: httpx.AsyncClient, **asked: object) -> dict:
    return (await client.get("/api/ollmlx/estimate", params=asked)).json()


async def test_the_hub_is_searched_and_names_are_those_to_pull(client, hub, tmp_path):
    folder = write_mlx(tmp_path / "made")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repositories["mlx-community/Llama-toy"] = Repository(files)
    hub.repositories["somebody/llama-toy-longer"] = Repository(GGUF)
    hub.repositories["somebody/other"] = Repository(GGUF)
    found = (await client.get("/api/ollmlx/search", params={"q": "llama-toy"})).json()
    assert found["hub_error"] == ""
    assert [(m["name"], m["format"], m["likes"]) for m in found["models"]] == [
        ("hf.co/somebody/llama-toy-longer", "gguf", 2),
        ("mlx-community/Llama-toy", "mlx", 2),
    ]
    assert found["models"][0]["updated_at"] == CHANGED


async def test_a_hub_that_cannot_be_asked_is_named_beside_the_table(client, hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    found = (await client.get("/api/ollmlx/search", params={"q": "smollm2"})).json()
    assert [m["source"] for m in found["models"]] == ["curated", "curated"]
    assert found["hub_error"].endswith("dial tcp 127.0.0.1:9: connect: connection refused")
    pulled = await client.post("/api/pull", json={"model": "hf.co/me/m"})
    last = json.loads(pulled.text.splitlines()[-1])
    assert last["error"].endswith("me/m: [Errno 111] Connection refused")


async def test_an_estimate_of_what_is_here_is_the_sum_of_a_load(client, tmp_path):
    path = write_gguf(tmp_path / "w.gguf")
    told = await estimated(client, model=str(path), num_ctx=64)
    cache = told["cache_per_token"] * told["num_ctx"] * 2
    assert (told["installed"], told["num_parallel"], told["cache"]) == (True, 2, cache)
    assert told["needed"] == path.stat().st_size + cache + fit.OVERHEAD
    assert (told["fits"], told["download"]) == (True, 0)


async def test_an_estimate_of_what_is_not_here_asks_the_registry(client):
    with misbehaving() as registry:
        registry.add("me/m", "1", {}, model=b"x" * SIZE)
        told = await estimated(client, model=f"{registry.host}/me/m:1", insecure="true")
    assert (told["installed"], told["cache_per_token"]) == (False, None)
    assert told["weights"] == told["download"] == SIZE + len("{}")
    assert "known when the model is here" in told["arithmetic"]


async def test_an_estimate_of_what_is_not_here_asks_the_hub(client, hub):
    hub.repositories["me/m"] = Repository(GGUF)
    told = await estimated(client, model="hf.co/me/m")
    assert (told["weights"], told["download"], told["installed"]) == (SIZE, SIZE, False)


@pytest.mark.parametrize(
    ("asked", "status", "error"),
    [
        ({}, 400, "model is required"),
        ({"model": "/no/such.gguf"}, 404, "model '/no/such.gguf' not found"),
        ({"model": "a b"}, 400, "invalid model name"),
        ({"model": "m", "num_parallel": -3}, 400, "num_ctx and num_parallel must not be negative"),
    ],
)
async def test_what_cannot_be_estimated_is_said(client, asked, status, error):
    answer = await client.get("/api/ollmlx/estimate", params=asked)
    assert (answer.status_code, answer.json()) == (status, {"error": error})
