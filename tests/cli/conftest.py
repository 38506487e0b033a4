"""A server for the command to speak to: the real one, with echo models."""

from collections.abc import Iterator

import pytest

from ollmlx.settings import Settings
from tests.echo import EchoLibrary, echo_model
from tests.serving import served

THINKING = (
    "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"
    "{{ .Content }}{{ end }}"
)
MODELS = EchoLibrary(
    echo_model(),
    echo_model("other:1b", system="You are kind."),
    echo_model("thinker:latest", template=THINKING, capabilities=("completion", "thinking")),
    echo_model("embedder:latest", capabilities=("embedding",)),
)


@pytest.fixture(scope="session")
def echoing() -> Iterator[str]:
    """The address of a server of echo models."""
    with served(Settings(num_parallel=4), MODELS) as url:
        yield url.removeprefix("http://")


@pytest.fixture
def at_echo(echoing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of someone who uses that server."""
    monkeypatch.delenv("OLLMLX_HOST", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", echoing)
