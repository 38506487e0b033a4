"""Copy, delete and uploads through the open door, on a real store."""

import hashlib
import os
from pathlib import Path

import httpx
import pytest

from ollmlx import names
from ollmlx.settings import Settings
from ollmlx.store.changes import Changes
from ollmlx.store.library import Library
from tests.serving import serving
from tests.store.shelf import CHATML, OllamaFolder, write_gguf, write_mlx

HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
CONFIG = {"model_format": "gguf", "model_family": "llama", "file_type": "Q8_0"}


@pytest.fixture
def store(root: Path) -> OllamaFolder:
    return OllamaFolder(root)


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return write_gguf(tmp_path / "w.gguf", tokenizer__chat_template=CHATML).read_bytes()


async def listed(client: httpx.AsyncClient) -> dict[str, str]:
    models = (await client.get("/api/tags")).json()["models"]
    return {model["name"]: model["digest"] for model in models}


def blobs(root: Path) -> int:
    return len(list((root / "blobs").iterdir()))


async def remove(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.request("DELETE", "/api/delete", json={"model": name})


async def test_a_copy_is_the_same_manifest_under_another_name(client, store, weights):
    manifest = store.add(
        "registry.ollama.ai/library/M/latest", CONFIG, ("model", weights), ("system", b"hi")
    )
    response = await client.post("/api/copy", json={"source": "m", "destination": "me/copy:1"})
    assert (response.status_code, response.content) == (200, b"")
    assert (store.root / "manifests/registry.ollama.ai/me/copy/1").read_bytes() == manifest
    digest = hashlib.sha256(manifest).hexdigest()
    assert await listed(client) == {"M:latest": digest, "me/copy:1": digest}


async def test_a_copy_takes_the_place_of_a_name_that_differs_in_letter_case(client, store, weights):
    store.add("registry.ollama.ai/library/m/latest", CONFIG, ("model", weights))
    store.add("registry.ollama.ai/library/Old/latest", CONFIG, ("model", weights[:-1] + b"x"))
    await client.post("/api/copy", json={"source": "m", "destination": "old"})
    found = await listed(client)
    assert set(found) == {"m:latest", "Old:latest"}
    assert found["m:latest"] == found["Old:latest"]


async def test_deleting_keeps_the_blobs_that_another_model_needs(client, store, weights):
    store.add("registry.ollama.ai/library/a/latest", CONFIG, ("model", weights), ("system", b"A"))
    store.add("registry.ollama.ai/library/b/latest", CONFIG, ("model", weights), ("system", b"B"))
    assert blobs(store.root) == 4
    assert (await remove(client, "A")).status_code == 200
    assert list(await listed(client)) == ["b:latest"]
    assert blobs(store.root) == 3
    assert (await remove(client, "b:local")).status_code == 200
    assert blobs(store.root) == 0
    assert list((store.root / "manifests").iterdir()) == []


def test_what_another_server_deleted_meanwhile_is_not_there(store, weights):
    store.add("registry.ollama.ai/library/m/latest", CONFIG, ("model", weights))
    found = Library(Settings(models=store.root, embedded=False)).find("m")
    assert Changes(store.root).delete(names.parse("m"), found)
    assert not Changes(store.root).delete(names.parse("m"), found)


async def test_a_damaged_model_can_be_deleted(client, store):
    path = store.write("registry.ollama.ai/library/bad/latest", b"{")
    assert (await remove(client, "bad")).status_code == 200
    assert not path.exists()


async def test_an_mlx_model_is_copied_without_its_bytes_and_outlives_the_original(client, root):
    source = write_mlx(root / "mlx/registry.ollama.ai/library/tiny/latest")
    await client.post("/api/copy", json={"source": "tiny", "destination": "second"})
    copy = root / "mlx/registry.ollama.ai/library/second/latest"
    assert (copy / "model.safetensors").samefile(source / "model.safetensors")
    assert (await remove(client, "tiny")).status_code == 200
    assert list(await listed(client)) == ["second:latest"]
    assert not source.parent.exists()


async def test_a_model_of_the_hugging_face_cache_is_deleted_with_its_repository(
    client, root, tmp_path, monkeypatch
):
    hub = tmp_path / "hub"
    # The room takes the cache from the environment, as huggingface_hub does.
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    repository = hub / "models--me--tiny"
    write_mlx(repository / "snapshots/abc")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    async with serving(root) as other:
        assert list(await listed(other)) == ["me/tiny:latest"]
        assert (await remove(other, "me/tiny")).status_code == 200
        assert await listed(other) == {}
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("copy", {"source": "", "destination": "x"}, 400, 'source "" is invalid'),
        ("copy", {"source": "../x", "destination": "x"}, 400, 'source "../x" is invalid'),
        ("copy", {"source": "x", "destination": "/a"}, 400, 'destination "/a" is invalid'),
        ("copy", {"source": "Nope", "destination": "x"}, 404, 'model "Nope" not found'),
        ("delete", {}, 400, "model is required"),
        ("delete", {"model": "a b"}, 400, 'name "a b" is invalid'),
        ("delete", {"name": "nope"}, 404, "model 'nope' not found"),
    ],
)
async def test_refusals_are_worded_as_ollama_words_them(client, path, body, status, message):
    method = "DELETE" if path == "delete" else "POST"
    response = await client.request(method, f"/api/{path}", json=body)
    assert (response.status_code, response.json()) == (status, {"error": message})


async def test_a_blob_is_received_once(client, root):
    assert (await client.head(f"/api/blobs/{HELLO}")).status_code == 404
    first = await client.post(f"/api/blobs/{HELLO}", content=b"hello")
    assert (first.status_code, first.content) == (201, b"")
    assert (root / "blobs" / HELLO.replace(":", "-")).read_bytes() == b"hello"
    assert (await client.head(f"/api/blobs/{HELLO}")).status_code == 200
    assert (await client.post(f"/api/blobs/{HELLO}", content=b"hello")).status_code == 200


async def test_a_blob_that_is_not_what_it_is_called_is_refused(client, root):
    wrong = "sha256:" + "0" * 64
    response = await client.post(f"/api/blobs/{wrong}", content=b"hello")
    expected = f'digest mismatch, expected "{wrong}", got "{HELLO}"'
    assert (response.status_code, response.json()) == (400, {"error": expected})
    assert (await client.head(f"/api/blobs/{wrong}")).status_code == 404
    dashed = await client.post(f"/api/blobs/{wrong.replace(':', '-')}", content=b"x")
    assert dashed.status_code == 400


@pytest.mark.parametrize("digest", ["sha256:1", "md5:" + "0" * 64, "..%2F..%2Fetc%2Fpasswd"])
async def test_what_is_no_digest_is_refused(client, digest):
    response = await client.post(f"/api/blobs/{digest}", content=b"x")
    assert (response.status_code, response.json()) == (400, {"error": "invalid digest format"})
    assert (await client.head(f"/api/blobs/{digest}")).status_code == 400


async def test_an_upload_that_is_cut_leaves_nothing(client, root):
    async def broken():
        yield b"hel"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await client.post(f"/api/blobs/{HELLO}", content=broken())
    await listed(client)
    assert (await client.head(f"/api/blobs/{HELLO}")).status_code == 404


async def test_a_server_that_starts_removes_what_no_model_needs(root, store, weights):
    store.add("registry.ollama.ai/library/a/latest", CONFIG, ("model", weights))
    old = root / "blobs" / ("sha256-" + "1" * 64)
    recent = root / "blobs" / ("sha256-" + "2" * 64)
    for path in (old, recent):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    async with serving(root) as client:
        assert list(await listed(client)) == ["a:latest"]
    assert not old.exists()
    assert recent.exists()
