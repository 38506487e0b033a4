"""Ours against the manifests that a real Ollama wrote: every digest, every byte."""

import json

import pytest
import pytest_asyncio

from tests.api.creating import serving
from tests.contract.creates import CASES, RECORDED, manifest, played, write


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def models(tmp_path_factory):
    """The folder of a store in which every case was made."""
    root = tmp_path_factory.mktemp("created")
    files = write(tmp_path_factory.mktemp("files"))
    async with serving(root) as client:
        for case in CASES:
            await played(client, files, case)
    return root


@pytest.mark.parametrize("name", [case["model"] for case in CASES])
def test_a_create_writes_the_manifest_that_ollama_writes(models, name):
    assert manifest(models, name) == json.loads(RECORDED.read_text())[name]
