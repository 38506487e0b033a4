"""Echo models behind the open door: what comes back is the prompt, so it shows both ways."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from ollmlx.room import Room
from ollmlx.settings import Settings
from tests.echo import CLEVER, ROLES, EchoLibrary, echo_model

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
    room = Room(Settings(num_parallel=4), MODELS)
    room.start()
    yield f"http://127.0.0.1:{room.open_door('127.0.0.1', 0)}"
    room.stop()


@pytest.fixture
async def echo(echoing: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=echoing, trust_env=False, timeout=20) as opened:
        yield opened
