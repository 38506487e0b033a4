"""Ours against the manifests that a real Ollama wrote: every digest, every byte."""

import json
from typing import Any

import httpx
import pytest
import pytest_asyncio

from ollmlx.cli.program import run
from tests.contract.creates import CASES, RECORDED, manifest, played, write
from tests.serving import serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory):
    """The folder of a store in which every case was made, and the server that made them."""
    root = tmp_path_factory.mktemp("created")
    files = write(tmp_path_factory.mktemp("files"))
    async with serving(root) as client:
        for case in CASES:
            await played(client, files, case)
        yield root, str(client.base_url)


@pytest.mark.parametrize("name", [case["model"] for case in CASES])
def test_a_create_writes_the_manifest_that_ollama_writes(made, name):
    assert manifest(made[0], name) == json.loads(RECORDED.read_text())[name]


@pytest.mark.parametrize("name", ["named", "asking", "adapter", "draft", "llava"])
def test_the_modelfile_of_a_model_makes_the_same_again(made, name, tmp_path, monkeypatch):
    root, url = made
    shown = httpx.post(f"{url}/api/show", json={"model": name}).json()["modelfile"]
    (tmp_path / "Modelfile").write_text(shown)
    monkeypatch.setenv("OLLAMA_HOST", url)
    run(["create", "again-" + name, "-f", str(tmp_path / "Modelfile")])
    assert contents(manifest(root, "again-" + name)) == contents(manifest(root, name))


def contents(text: str) -> Any:
    """What a manifest names, without where it was taken from."""
    told = json.loads(text)
    layers = [(layer["mediaType"], layer["digest"]) for layer in told["layers"]]
    return told["config"]["digest"], sorted(layers)
