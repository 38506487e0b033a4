"""A server with a store of its own, and one of echo models: what comes back there is the prompt, so
it shows both ways.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from ollmlx.settings import Settings
from tests.echo import CLEVER, ROLES, EchoLibrary, echo_model
from tests.serving import served, talking

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
