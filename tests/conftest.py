"""Toy models shared by the whole test run; fixtures of one room live beside its tests."""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bert import make_minilm, make_toy_bert
from tests.toy import ToyModels, make_toy

gc.disable()  # until all is imported


def pytest_collection_finish() -> None:
    """What all tests import stays to the end: the many collections of an MLX model that is let go
    need not walk through half a gigabyte of it.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Histories, signatures and logs of programs that tests start."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "XDG_CONFIG_HOME"):
            environment.setenv(name, str(home / name.lower()))
        environment.setenv("npm_config_logs_max", "0")
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell has what it starts in the background ignore interrupts, and so would all its
    children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    """The random llama: greedy text depends on the whole context."""
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    """The bigram machine: after `assistant` it answers `tests.toy.REPLY` and ends."""
    return make_toy(tmp_path_factory.mktemp("scripted"), scripted=True)


@pytest.fixture(scope="session")
def toy_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF that embeds and cannot generate."""
    return make_toy_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real sentence embedder: what is said in other words is near."""
    return make_minilm(tmp_path_factory.mktemp("minilm"))
