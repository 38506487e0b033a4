"""Pulling from a real registry, through the open door."""

import json

import httpx
import pytest

from tests.registry import docker_registry
from tests.store.shelf import OllamaFolder, write_gguf

CONFIG = {"model_format": "gguf", "model_family": "llama", "file_type": "Q8_0"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("oci")) as running:
        yield running


def frames(response: httpx.Response) -> list[dict]:
    return [json.loads(line) for line in response.text.splitlines()]


async def test_a_model_of_a_plain_registry_is_pulled_and_listed(client, registry, tmp_path):
    weights = write_gguf(tmp_path / "w.gguf").read_bytes()
    manifest = registry.add("me/tiny", "1b", CONFIG, model=weights, system=b"Be brief.")
    name = f"{registry.host}/me/tiny:1b"
    response = await client.post("/api/pull", json={"model": name, "insecure": True})
    assert response.headers["Content-Type"] == "application/x-ndjson"
    got = frames(response)
    assert got[0] == {"status": "pulling manifest"}
    assert [f["status"] for f in got[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    layers = json.loads(manifest)["layers"]
    digest = layers[0]["digest"]
    first = got[1]
    assert first.items() >= {"digest": digest, "total": len(weights)}.items()
    assert first["status"] == f"pulling {digest[7:19]}"
    stored = tmp_path / "models/manifests" / registry.host / "me/tiny/1b"
    assert stored.read_bytes() == manifest
    listed = (await client.get("/api/tags")).json()["models"]
    assert [m["name"] for m in listed] == [name]
    again = frames(await client.post("/api/pull", json={"model": name, "insecure": True}))
    assert again[1] == {
        "status": f"pulling {digest[7:19]}",
        "digest": digest,
        "total": len(weights),
        "completed": len(weights),
    }
    assert len(again) == 1 + 3 + 3


async def test_what_is_pushed_can_be_pulled(client, registry, tmp_path):
    weights = write_gguf(tmp_path / "w.gguf", general__name="push").read_bytes()
    manifest = registry.add("me/first", "1b", CONFIG, model=weights, system=b"Be brief.")
    first = f"{registry.host}/me/first:1b"
    await client.post("/api/pull", json={"model": first, "insecure": True})
    second = f"{registry.host}/you/second:2b"
    copied = await client.post("/api/copy", json={"source": first, "destination": second})
    assert copied.status_code == 200
    got = frames(await client.post("/api/push", json={"model": second, "insecure": True}))
    assert got[0] == {"status": "retrieving manifest"}
    assert got[-2:] == [{"status": "pushing manifest"}, {"status": "success"}]
    digest = json.loads(manifest)["layers"][0]["digest"]
    assert {
        "status": f"pushing {digest[7:19]}",
        "digest": digest,
        "total": len(weights),
        "completed": len(weights),
    } in got
    assert registry.manifest("you/second", "2b") == manifest


async def test_what_cannot_be_pushed_has_ollamas_texts(client, registry, tmp_path):
    empty = await client.post("/api/push", json={})
    assert (empty.status_code, empty.json()) == (400, {"error": "model is required"})
    name = f"{registry.host}/me/none:1"
    got = frames(await client.post("/api/push", json={"model": name, "insecure": True}))
    path = tmp_path / "models/manifests" / registry.host / "me/none/1"
    assert got == [
        {"status": "retrieving manifest"},
        {"status": "couldn't retrieve manifest"},
        {"error": f"open {path}: no such file or directory"},
    ]
    got = frames(await client.post("/api/push", json={"model": f"http://{name}"}))
    assert "open " in got[-1]["error"]


@pytest.mark.parametrize("port", [None, 1])
async def test_a_push_to_whom_nobody_can_ask_fails_at_once(client, registry, tmp_path, port):
    """A registry without TLS, and none at all."""
    host = f"127.0.0.1:{port}" if port else registry.host
    name = f"{host}/me/mine:1"
    OllamaFolder(tmp_path / "models").add(f"{host}/me/mine/1", CONFIG, ("model", b"weights"))
    got = frames(await client.post("/api/push", json={"model": name}))
    assert [frame.get("status") for frame in got] == ["retrieving manifest", None]
    why = "connection refused" if port else "http: server gave HTTP response to HTTPS client"
    assert got[-1]["error"].startswith(f'Head "https://{host}/v2/me/mine/blobs/sha256:')
    assert got[-1]["error"].endswith(why)
