"""Toy models loaded by each engine in turn, and closed again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ollmlx.engine.backend import Backend, load
from ollmlx.engine.jobs import LoadOptions
from ollmlx.engine.llama.backend import LlamaCppBackend
from ollmlx.engine.llama.parking import Parking
from tests.engine.asking import Open
from tests.toy import ToyModels


@pytest.fixture(params=["gguf", "mlx"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str) -> Iterator[Callable[[ToyModels, LoadOptions], Backend]]:
    """Loads toys of the kind under test and closes them at the end."""
    backends: list[Backend] = []

    def open_toy(models: ToyModels, options: LoadOptions) -> Backend:
        path = models.gguf if kind == "gguf" else models.mlx
        backends.append(load(kind, str(path), options, lambda fraction: None))
        return backends[-1]

    yield open_toy
    for backend in backends:
        backend.close()


@pytest.fixture
def random_toy(opened: Open, toy: ToyModels) -> Open:
    return lambda **options: opened(toy, _options(options))


@pytest.fixture
def scripted_toy(opened: Open, scripted: ToyModels) -> Open:
    return lambda **options: opened(scripted, _options(options))


@pytest.fixture
def llama() -> Iterator[Open]:
    """Loads a GGUF by its path with `LoadOptions` as keywords, and closes it at the end."""
    backends = list[Backend]()

    def open_gguf(path: Path, **options: Any) -> Backend:
        defaults = {"num_ctx": 512, "num_thread": 1, "kv_cache_type": "f32"}
        wanted = LoadOptions(**(defaults | options))
        backends.append(LlamaCppBackend(str(path), wanted, lambda fraction: None))
        return backends[-1]

    yield open_gguf
    for backend in backends:
        backend.close()


@pytest.fixture
def mlx() -> Iterator[Open]:
    """The same for a folder."""
    backends = list[Backend]()

    def open_folder(folder: Path, **options: Any) -> Backend:
        wanted = LoadOptions(**({"num_ctx": 512, "num_parallel": 4} | options))
        backends.append(load("mlx", str(folder), wanted, lambda fraction: None))
        return backends[-1]

    yield open_folder
    for backend in backends:
        backend.close()


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves what every answer leaves: of prompts that take milliseconds, what else the machine does
    would decide which are worth it.
    """
    monkeypatch.setattr(Parking, "seconds", lambda parking, pieces: 0.0)


def _options(options: dict[str, Any]) -> LoadOptions:
    defaults: dict[str, Any] = {"num_ctx": 512, "num_parallel": 4, "num_thread": 1}
    return LoadOptions(**(defaults | options))
