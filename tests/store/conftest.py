"""An empty store, and a library of it and of caches beside it."""

from pathlib import Path

import pytest

from ollmlx.settings import Settings
from ollmlx.store.library import Library
from tests.store.shelf import OllamaFolder


@pytest.fixture
def store(tmp_path: Path) -> OllamaFolder:
    return OllamaFolder(tmp_path / "models")


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Hugging Face's cache."""
    return tmp_path / "hub"


@pytest.fixture
def library(hub: Path, tmp_path: Path) -> Library:
    settings = Settings(models=tmp_path / "models", embedded=False)
    return Library(settings, hub, tmp_path / "studio")
