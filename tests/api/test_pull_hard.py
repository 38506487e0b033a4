"""Pulls that meet trouble: many at once, hung up on, killed, lied to."""

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ollmlx.api import transfers
from ollmlx.settings import Settings
from ollmlx.store.library import Library
from tests.misbehaving import Handler
from tests.waiting import until

CONFIG = {"model_format": "gguf", "model_family": "llama", "file_type": "Q8_0"}
MIB = 1 << 20
KILLS = int(os.environ.get("OLLMLX_TEST_KILLS", "8"))


async def pull(client: httpx.AsyncClient, name: str, **fields: object) -> list[dict]:
    body = {"model": name, "insecure": True, **fields}
    response = await client.post("/api/pull", json=body)
    return [json.loads(line) for line in response.text.splitlines()]


def blobs(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "models/blobs").glob("sha256-*") if len(p.name) == 71]


async def test_many_who_ask_share_one_download(client, registry, weights):
    registry.add("me/m", "1", CONFIG, model=weights)
    registry.seconds_per_mib = 0.1
    answers = await asyncio.gather(*(pull(client, f"{registry.host}/me/m:1") for _ in range(4)))
    assert [answer[-1] for answer in answers] == [{"status": "success"}] * 4
    assert len(registry.asked) == 2  # the weights, and the config


async def test_the_last_who_hangs_up_ends_it_and_the_first_does_not(client, registry, weights):
    registry.add("me/m", "1", CONFIG, model=weights)
    registry.seconds_per_mib = 1
    first, last = (asyncio.ensure_future(pull(client, f"{registry.host}/me/m:1")) for _ in range(2))
    await until(lambda: registry.sent > 100_000)
    first.cancel()
    before = registry.sent
    await until(lambda: registry.sent > before + 300_000)
    last.cancel()
    await asyncio.gather(first, last, return_exceptions=True)
    await until(lambda: registry.left)
    registry.seconds_per_mib = 0
    assert (await pull(client, f"{registry.host}/me/m:1"))[-1] == {"status": "success"}
    assert registry.asked[-2].removeprefix("bytes=").partition("-")[0] != "0"


async def test_a_newer_version_takes_the_place_of_the_older(client, registry, weights, tmp_path):
    name = f"{registry.host}/me/m:1"
    registry.add("me/m", "1", CONFIG, model=weights, system=b"old")
    await pull(client, name)
    registry.add("me/m", "1", CONFIG, model=weights, system=b"new")
    got = await pull(client, name)
    assert [frame["status"] for frame in got[-3:]] == [
        "writing manifest",
        "removing unused layers",
        "success",
    ]
    contents = [path.read_bytes() for path in blobs(tmp_path)]
    assert b"new" in contents
    assert b"old" not in contents


async def test_letter_case_of_an_installed_name_stays(client, registry, weights):
    registry.add("me/Model", "1", CONFIG, model=weights)
    registry.add("me/model", "1", CONFIG, model=weights)
    await pull(client, f"{registry.host}/me/Model:1")
    await pull(client, f"{registry.host}/me/model:1")
    listed = (await client.get("/api/tags")).json()["models"]
    assert [m["name"] for m in listed] == [f"{registry.host}/me/Model:1"]


async def test_errors_have_ollamas_texts_and_places(client, registry, weights):
    missing = f"{registry.host}/me/none:1"
    error = {"error": "pull model manifest: file does not exist"}
    assert await pull(client, missing) == [{"status": "pulling manifest"}, error]
    whole = await client.post(
        "/api/pull", json={"model": missing, "insecure": True, "stream": False}
    )
    assert (whole.status_code, whole.json()) == (500, error)
    assert whole.headers["Content-Type"] == "application/json"
    registry.add("me/tensors", "1", CONFIG, tensor=b"t")
    assert (await pull(client, f"{registry.host}/me/tensors:1"))[-1] == {
        "error": "this model requires MLX support, but the MLX runtime is not available"
    }
    for scheme in ("", "https://", "http://"):
        got = await pull(client, f"{scheme}{registry.host}/me/m:1", insecure=False)
        assert got[-1]["error"].endswith("http: server gave HTTP response to HTTPS client")
    got = await pull(client, "127.0.0.1:1/library/nope")
    assert got[-1] == {
        "error": 'pull model manifest: Get "http://127.0.0.1:1/v2/library/nope/manifests/latest": '
        "dial tcp 127.0.0.1:1: connect: connection refused"
    }
    got = await pull(client, "no-such-host.invalid/me/m:1")
    assert got[-1]["error"].endswith("dial tcp: lookup no-such-host.invalid: no such host")


@pytest.mark.parametrize(
    "name",
    ["", "../../etc/passwd", "/etc/passwd", "a\0b", "me/m:../x", "m\uff4d", "a/b/c/d", "m:"],
)
async def test_no_name_leaves_the_store(client, name):
    response = await client.post("/api/pull", json={"model": name})
    assert (response.status_code, response.json()) == (400, {"error": "invalid model name"})


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"config":{"mediaType":"x","digest":"sha256:../../../x","size":1}}',
        b'{"config":{"mediaType":"x","digest":"sha256:' + b"a" * 64 + b'","size":-1}}',
        b" " * (5 << 20),
    ],
)
async def test_a_manifest_that_is_none_is_refused(client, registry, manifest, tmp_path):
    registry.manifests["/v2/me/m/manifests/1"] = manifest
    (_, error) = await pull(client, f"{registry.host}/me/m:1")
    assert error["error"].startswith("pull model manifest: ")
    assert not (tmp_path / "models").exists()


async def test_a_damaged_model_is_mended_by_a_pull(client, registry, weights, tmp_path):
    registry.add("me/m", "1", CONFIG, model=weights)
    name = f"{registry.host}/me/m:1"
    await pull(client, name)
    (tmp_path / "models/manifests" / registry.host / "me/m/1").write_bytes(b"{")
    assert (await pull(client, name))[-1] == {"status": "success"}
    assert [m["name"] for m in (await client.get("/api/tags")).json()["models"]] == [name]


async def test_a_name_too_long_for_the_disk_is_told(client, tmp_path):
    (tmp_path / "models/manifests").mkdir(parents=True)
    name = f"{'h' * 300}/me/m:1"
    (_, error) = await pull(client, name)
    assert error["error"].startswith("pull model manifest: Get ")
    pushed = await client.post("/api/push", json={"model": name})
    assert json.loads(pushed.text.splitlines()[-1])["error"].endswith("File name too long")
    for path in ("copy", "create"):
        body = {"model": name, "files": {"m.gguf": "sha256:" + "a" * 64}, "source": "smollm2:135m"}
        told = await client.post(f"/api/{path}", json={**body, "destination": name})
        assert "internal server error" not in told.text


async def test_a_blob_that_is_a_lie_is_named_and_nothing_is_installed(
    client, registry, weights, tmp_path
):
    registry.add("me/m", "1", CONFIG, model=weights)
    registry.behave = lambda handler, content: Handler.send_range(handler, bytes(len(content)))
    got = await pull(client, f"{registry.host}/me/m:1")
    assert got[-2] == {"status": "verifying sha256 digest"}
    assert got[-1]["error"].startswith("digest mismatch, file must be downloaded again: want")
    assert blobs(tmp_path) == []
    assert not (tmp_path / "models/manifests").exists()


async def test_a_store_that_cannot_be_written_is_named(client, registry, weights, tmp_path):
    (tmp_path / "models").write_bytes(b"a file where the folder should be")
    registry.add("me/m", "1", CONFIG, model=weights)
    (*_, error) = await pull(client, f"{registry.host}/me/m:1")
    assert error == {"error": f"cannot write to {tmp_path / 'models/blobs'}: Not a directory"}


SCRIPT = """
import asyncio, sys
from pathlib import Path
from ollmlx.api.engine import Engine
from ollmlx.api.transfers import pulling
from ollmlx.engine.pool import Pool
from ollmlx.settings import Settings
from ollmlx.store.library import Library

async def main():
    settings = Settings(models=Path(sys.argv[1]))
    engine = Engine(settings, Library(settings), Pool(settings))
    print("ready", flush=True)
    async for frame in pulling(engine, sys.argv[2], insecure=True):
        pass

asyncio.run(main())
"""


def test_killed_at_any_moment_nothing_is_there_that_is_not_whole(registry, weights, tmp_path):
    registry.add("me/m", "1", CONFIG, model=weights, system=b"s", template=b"{{ .Prompt }}")
    registry.seconds_per_mib = 0.04
    library = Library(Settings(models=tmp_path / "models", embedded=False), tmp_path / "hub")
    chance, kills, done = random.Random(5), 0, False
    while not done:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "models")]
        running = subprocess.Popen(
            [*command, f"{registry.host}/me/m:1"], stdout=subprocess.PIPE, text=True
        )
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        if kills < KILLS:
            time.sleep(chance.random() * 0.05)  # the moment is what varies
            running.kill()
            kills += 1
        done = running.wait() == 0
        running.stdout.close()
        for path in blobs(tmp_path):
            assert path.name == f"sha256-{hashlib.sha256(path.read_bytes()).hexdigest()}"
        assert [model.name for model in library.list()] in ([], [f"{registry.host}/me/m:1"])
    assert library.list()
    assert kills == KILLS
    # What came after the last note of the one part, and what the sockets held.
    assert registry.sent - len(weights) < kills * 2 * MIB


async def test_a_model_too_large_for_memory_is_told_before_it_comes(
    client, registry, weights, monkeypatch
):
    # The machine that runs the tests has room for it.
    monkeypatch.setattr(transfers, "free_memory", lambda: 1 << 20)
    registry.add("me/m", "1", CONFIG, model=weights)
    got = await pull(client, f"{registry.host}/me/m:1")
    assert got[1] == {
        "status": "this model does not fit in memory now: it needs 0.3 GiB, 0.0 GiB are free"
    }
    assert got[-1] == {"status": "success"}


async def test_a_model_too_large_for_the_disk_is_refused_before_it_comes(client, registry):
    registry.add("me/m", "1", CONFIG, model=b"m")
    manifest = json.loads(registry.manifests["/v2/me/m/manifests/1"])
    manifest["layers"][0]["size"] = 1 << 60
    registry.manifests["/v2/me/m/manifests/1"] = json.dumps(manifest).encode()
    (_, error) = await pull(client, f"{registry.host}/me/m:1")
    assert "not enough space in" in error["error"]
    assert registry.asked == []
