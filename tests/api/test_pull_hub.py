"""Pulling from a hub with the unmodified client of Hugging Face, through the open door."""

import json
from pathlib import Path

import httpx
import pytest
from huggingface_hub import constants

from tests.hub import Repository
from tests.store.shelf import write_gguf, write_mlx

pytestmark = pytest.mark.usefixtures("hub")  # before the server starts


@pytest.fixture
def mlx(tmp_path) -> dict[str, bytes]:
    """The files of an MLX model, its weights just long enough to be kept out of git."""
    folder = write_mlx(tmp_path / "made")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**files, "README.md": b"#", "code.py": b"1 / 0", "pytorch_model.bin": bytes(2000)}


async def pull(client: httpx.AsyncClient, name: str) -> list[dict]:
    response = await client.post("/api/pull", json={"model": name})
    assert response.status_code == 200
    return [json.loads(line) for line in response.text.splitlines()]


async def names(client: httpx.AsyncClient) -> list[str]:
    return [m["name"] for m in (await client.get("/api/tags")).json()["models"]]


def cached(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "hub").glob("*/snapshots/*/**/*") if p.is_file())


async def test_a_repository_of_mlx_is_pulled_without_its_code_and_pickles(
    client, hub, mlx, tmp_path
):
    hub.repositories["mlx-community/Tiny-4bit"] = Repository(mlx)
    got = await pull(client, "mlx-community/Tiny-4bit")
    assert got[0] == {"status": "pulling manifest"}
    assert [f["status"] for f in got[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert cached(tmp_path) == ["config.json", "model.safetensors", "tokenizer_config.json"]
    assert await names(client) == ["mlx-community/Tiny-4bit:latest"]


async def test_a_short_name_means_a_repository(client, hub, mlx):
    hub.repositories["mlx-community/Llama-3.2-1B-Instruct-4bit"] = Repository(mlx)
    assert (await pull(client, "llama3.2:1b-mlx"))[-1] == {"status": "success"}
    shown = await client.post("/api/show", json={"model": "llama3.2:1b-mlx"})
    assert shown.json()["details"]["format"] == "safetensors"


async def test_the_tag_of_a_repository_of_ggufs_chooses_one_with_what_it_sees_through(
    client, hub, tmp_path
):
    weights = write_gguf(tmp_path / "w.gguf").read_bytes()
    eyes = write_gguf(
        tmp_path / "e.gguf", "clip", general__type="mmproj", clip__has_vision_encoder=True
    ).read_bytes()
    hub.repositories["org/Tiny-GGUF"] = Repository(
        {
            "Tiny-Q8_0.gguf": weights,
            "Tiny-Q4_K_M.gguf": weights + b"\0",
            "mmproj-Tiny-F32.gguf": eyes + b"\0",
            "mmproj-Tiny-F16.gguf": eyes,
        }
    )
    assert (await pull(client, "hf.co/org/Tiny-GGUF:q8_0"))[-1] == {"status": "success"}
    assert cached(tmp_path) == ["Tiny-Q8_0.gguf", "mmproj-Tiny-F16.gguf"]
    assert await names(client) == ["hf.co/org/Tiny-GGUF:Q8_0"]
    await pull(client, "hf.co/org/Tiny-GGUF")
    assert sorted(await names(client)) == [
        "hf.co/org/Tiny-GGUF:Q4_K_M",
        "hf.co/org/Tiny-GGUF:Q8_0",
    ]
    assert (await client.post("/api/show", json={"model": "hf.co/org/Tiny-GGUF"})).is_success


async def test_all_parts_of_a_split_gguf_come(client, hub, tmp_path):
    first = write_gguf(tmp_path / "1.gguf", split__count=2, split__no=0).read_bytes()
    second = write_gguf(tmp_path / "2.gguf", split__count=2, split__no=1).read_bytes()
    hub.repositories["org/Big-GGUF"] = Repository(
        {
            "Q4_0/Big-Q4_0-00001-of-00002.gguf": first,
            "Q4_0/Big-Q4_0-00002-of-00002.gguf": second,
            "Big-Q8_0.gguf": first,
        }
    )
    await pull(client, "hf.co/org/Big-GGUF:Q4_0")
    assert cached(tmp_path) == ["Big-Q4_0-00001-of-00002.gguf", "Big-Q4_0-00002-of-00002.gguf"]
    assert await names(client) == ["hf.co/org/Big-GGUF:Q4_0"]


async def test_a_token_opens_private_and_gated_repositories(client, hub, mlx, monkeypatch):
    hub.repositories["org/private"] = Repository(mlx, token="hf_me")
    hub.repositories["org/gated"] = Repository(mlx, token="hf_me", gated=True)
    (error,) = [f["error"] for f in await pull(client, "hf.co/org/private") if "error" in f]
    assert error.startswith("pull model manifest: org/private is not on the hub, or it is private")
    (error,) = [f["error"] for f in await pull(client, "hf.co/org/gated") if "error" in f]
    assert "org/gated is gated: accept its terms at" in error
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    for name in ("private", "gated"):
        assert (await pull(client, f"hf.co/org/{name}"))[-1] == {"status": "success"}


async def test_a_commit_can_be_pinned(client, hub, mlx):
    commit = "ab" * 20
    hub.repositories["org/pinned"] = Repository(mlx, commit=commit)
    assert (await pull(client, f"hf.co/org/pinned:{commit}"))[-1] == {"status": "success"}
    assert (await client.post("/api/show", json={"model": f"org/pinned:{commit}"})).is_success
    got = await pull(client, "hf.co/org/pinned:nope")
    assert got[-1] == {"error": "pull model manifest: file does not exist"}


async def test_only_pickles_are_refused(client, hub):
    hub.repositories["org/old"] = Repository({"pytorch_model.bin": b"x", "config.json": b"{}"})
    assert "only pickled weights" in (await pull(client, "hf.co/org/old"))[-1]["error"]


async def test_a_file_that_is_not_what_the_hub_calls_it_is_not_kept(client, hub, mlx, tmp_path):
    weights = {**mlx, "model.safetensors": mlx["model.safetensors"] + bytes(2000)}
    hub.repositories["org/lie"] = Repository(weights, lies={"model.safetensors": "ab" * 32})
    got = await pull(client, "hf.co/org/lie")
    assert got[-1]["error"].startswith("digest mismatch, file must be downloaded again: want")
    assert await names(client) == []
    assert not [p for p in (tmp_path / "hub").rglob("*") if "abab" in p.name]


async def test_a_connection_that_breaks_is_taken_up_where_it_broke(client, hub, mlx):
    weights = mlx["model.safetensors"] + bytes(3 << 20)
    hub.repositories["org/far"] = Repository({**mlx, "model.safetensors": weights})
    hub.cut_after = 1 << 20
    assert (await pull(client, "hf.co/org/far"))[-1] == {"status": "success"}
    assert hub.sent["model.safetensors"] == len(weights)


async def test_offline_only_what_is_there_is_found(client, hub, mlx, monkeypatch):
    hub.repositories["org/there"] = Repository(mlx)
    await pull(client, "hf.co/org/there")
    # The client reads the variable HF_HUB_OFFLINE once, when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert (await pull(client, "hf.co/org/there"))[-1] == {"status": "success"}
    assert "error" in (await pull(client, "hf.co/org/elsewhere"))[-1]
