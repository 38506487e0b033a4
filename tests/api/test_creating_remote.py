"""Models that another server runs: made, listed, copied and deleted here, and never run."""

import pytest

from ollmlx.api.creating.remote import url
from ollmlx.errors import BadRequest
from tests.api.creating import create


@pytest.mark.parametrize(
    ("host", "whole"),
    [
        ("ollama.com", "https://ollama.com:443"),
        ("gpu", "http://gpu:11434"),
        ("gpu:80", "http://gpu:80"),
        ("https://gpu/", "https://gpu:11434"),
        ("https://user@gpu:1/a//b/../c/", "https://user@gpu:1/a/c"),
        ("/x/../y", "http://localhost:11434/y"),
        ("http:///z", "http://localhost:11434/z"),
    ],
)
def test_an_address_is_completed(host: str, whole: str) -> None:
    assert url(host) == whole


@pytest.mark.parametrize("host", ["http://[::1", "gpu:port", "gpu:99999999"])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(BadRequest, match="bad remote"):
        url(host)


async def test_it_is_listed_with_its_address_and_runs_nowhere_here(client) -> None:
    frames = await create(client, **{"from": "big:20b-cloud"}, system="Be brief.")
    assert frames[-1] == {"status": "success"}
    assert (
        await client.post("/api/copy", json={"source": "made", "destination": "two"})
    ).is_success
    listed = (await client.get("/api/tags")).json()["models"]
    assert {one["name"] for one in listed} == {"made:latest", "two:latest"}
    assert {one["remote_model"] for one in listed} == {"big:20b"}
    assert {one["remote_host"] for one in listed} == {"https://ollama.com:443"}
    for path, body, text in (
        ("chat", {"messages": [{"role": "user", "content": "hi"}]}, "remote model is unavailable"),
        ("generate", {"prompt": "hi"}, "remote model is unavailable"),
        ("show", {}, "remote model details are unavailable"),
    ):
        refused = await client.post(f"/api/{path}", json={"model": "made", **body})
        assert (refused.status_code, refused.json()) == (
            403,
            {"error": f"ollama cloud is disabled: {text}"},
        )
    for name in ("made", "two"):
        assert (await client.request("DELETE", "/api/delete", json={"model": name})).is_success
    assert (await client.get("/api/tags")).json()["models"] == []


async def test_it_has_no_weights_to_work_on(client) -> None:
    digest = f"sha256:{'0' * 64}"
    for change, text in (
        ({"draft_files": {"d.gguf": digest}}, "DRAFT cannot be used with remote models"),
        ({"adapters": {"a.gguf": digest}}, "a remote model has no weights here"),
        ({"quantize": "q8_0"}, "a remote model has no weights here"),
    ):
        frames = await create(client, **{"from": "big"}, remote_host="gpu", **change)
        assert frames[-1]["error"].startswith(text)
    await create(client, **{"from": "big"}, remote_host="gpu")
    frames = await create(client, model="child", **{"from": "made"}, system="x")
    assert "made:latest has no weights: http://gpu:11434 runs it as big" in frames[-1]["error"]
