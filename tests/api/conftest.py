"""A server with a store of its own, and one of echo models: what comes back there is the prompt, so
it shows both ways.
"""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from ollmlx.settings import Settings
from tests.echo import CLEVER, ROLES, EchoLibrary, echo_model
from tests.hub import FakeHub, running_hub
from tests.misbehaving import Misbehaving, misbehaving
from tests.serving import served, talking
from tests.store.shelf import write_gguf

MODELS = EchoLibrary(
    echo_model(),
    echo_model("clever:latest", template=CLEVER, capabilities=("completion", "tools", "thinking")),
    echo_model("roles:latest", template=ROLES, capabilities=("completion", "tools")),
    echo_model("embedder:latest", capabilities=("embedding",)),
    echo_model("hf.co/some/model:Q4_0"),
)


@pytest.fixture(scope="package")
def echoing() -> Iterator[str]:
    """Its address."""
    with served(Settings(num_parallel=4), MODELS) as url:
        yield url


@pytest.fixture
async def echo(echoing: str) -> AsyncIterator[httpx.AsyncClient]:
    async with talking(echoing) as client:
        yield client


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The store's folder."""
    return tmp_path / "models"


@pytest.fixture
def url(root: Path) -> Iterator[str]:
    with served(Settings(models=root, embedded=False)) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Of the file's own server, where it has one."""
    async with talking(url) as client:
        yield client


@pytest.fixture
def registry() -> Iterator[Misbehaving]:
    with misbehaving() as running:
        yield running


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GGUF of 3 MiB; what follows the tensors is nobody's."""
    path = write_gguf(tmp_path_factory.mktemp("gguf") / "w.gguf")
    return path.read_bytes() + random.Random(1).randbytes(3 << 20)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with running_hub() as running:
        # The user's own way to say which hub, and where its cache is.
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running
