"""One Jupyter server with real models for all clients, and the record of what each of them did."""

import base64
import gc
import os
import shutil
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import ollama
import pytest
from pydantic import BaseModel

from tests.clients.table import ENGINES, FILE, GGUF, MLX, Record, text
from tests.jupyter_ext.process import serving
from tests.toy import ToyModels
from tests.toy_vision import make_seeing, picture

# At its import litellm would fetch a table of prices from the internet.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

MODEL, EMBEDDER, CALLER = "smollm2:135m", "all-minilm:latest", "caller:latest"
TOKEN = "the-token-of-jupyter"
SETTINGS = {
    "ServerApp": {"ip": "127.0.0.1", "port": 0, "open_browser": False, "allow_root": True},
    "IdentityProvider": {"token": TOKEN},
}
SAY = "Say: one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
"""The answer has no near tie, which requests beside it or before it could tip: sums are rounded
otherwise then.
"""
QUESTION = "what?"
PICTURES = [base64.b64encode(picture(seed)).decode() for seed in (1, 2)]
"""Two PNG files, about which the toys that see have different things to say."""
_RECORD = pytest.StashKey[Record]()
_PARTIAL = pytest.StashKey[bool]()


class City(BaseModel):
    """A city."""

    size: Literal["small", "large"]
    capital: bool


@dataclass(frozen=True)
class Models:
    """Names of an engine's models: one that chats, one that embeds, one that calls its tool, one
    that sees.

    GGUF's first two are real; a model of their size calls no tools unless it is forced to, so the
    third is the scripted toy: a real file for the same engine, with `tests.toy.TOOL_CALL` in it.
    The real one as MLX takes seconds for a word here, so there the toy does what it can do.
    """

    chat: str
    embedder: str
    caller: str
    seer: str
    width: int
    """Of a vector."""


MODELS = {
    GGUF: Models(MODEL, EMBEDDER, CALLER, "seer:latest", 384),
    MLX: Models("caller:mlx", "caller:mlx", "caller:mlx", "seer:mlx", 64),
}


@dataclass(frozen=True)
class Doors:
    """Two ways to the same models."""

    open: str
    """Like Ollama's own port: no token."""
    mount: str
    """Below Jupyter; wants `token`."""
    token: str = TOKEN


@pytest.fixture(scope="session")
def doors(
    tmp_path_factory: pytest.TempPathFactory, minilm: Path, scripted: ToyModels
) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("jupyter")
    store = folder / "models"
    put_mlx(store, scripted.mlx)
    engine = {"models": str(store), "open_door": True, "door_port": 0, "max_loaded_models": 8}
    with serving(folder, {**SETTINGS, "OllmlxApp": engine}) as server:
        found = Doors(f"http://127.0.0.1:{server.note['door_port']}", server.note["mount"])
        seer = make_seeing(folder / "eyes", "whole")
        gguf = MODELS[GGUF]
        with ollama.Client(found.open, trust_env=False) as client:
            for name, *files in (
                (gguf.embedder, minilm),
                (gguf.caller, scripted.gguf),
                (gguf.seer, seer.model, seer.projector),
            ):
                client.create(name, files={file.name: client.create_blob(file) for file in files})
        yield found


def put_mlx(store: Path, scripted: Path) -> None:
    """Where `create` leaves MLX models, which would load each of them first."""
    folder = store / "mlx/registry.ollama.ai/library"
    shutil.copytree(scripted, folder / "caller/mlx")
    if find_spec("mlx_vlm"):
        from tests.toy_mlx_vision import make_seeing_mlx

        (folder / "seer").mkdir()
        make_seeing_mlx(folder / "seer/mlx", "smolvlm")


@pytest.fixture(params=ENGINES)
def models(request: pytest.FixtureRequest) -> Models:
    return MODELS[request.param]


@pytest.fixture
def seer(models: Models) -> str:
    """The name of a model that is asked `QUESTION` about one of `PICTURES`."""
    if models is MODELS[MLX]:
        pytest.importorskip("mlx_vlm", reason="MLX models see with the extra `vision`")
    return models.seer


@pytest.fixture(scope="session")
def url(doors: Doors) -> str:
    """Where Ollama's port is taken to be."""
    return doors.open


@pytest.fixture(scope="module")
def unclosed() -> Iterator[None]:
    """For clients that have no way to close their connections: they go before others' tests."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# -- the table -------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-table", action="store_true", help=f"Write {FILE.name} of the run.")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RECORD] = Record()


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[_PARTIAL] = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    client, feature = item.get_closest_marker("client"), item.get_closest_marker("feature")
    if client and feature and (report.when == "call" or not report.passed):
        callspec = getattr(item, "callspec", None)
        engine = callspec.params.get("models", GGUF) if callspec else GGUF
        item.config.stash[_RECORD].add(client.args[0], feature.args, report.outcome, engine)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--write-table", default=False):
        FILE.write_text(text(session.config.stash[_RECORD].seen), encoding="utf-8")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """What this run saw so far."""
    return request.config.stash[_RECORD]


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether every test of the clients is in this run."""
    config, here = request.config, Path(__file__).parent
    folders = [config.invocation_params.dir / argument for argument in config.args]
    complete = any(here.is_relative_to(folder.resolve()) for folder in folders)
    return complete and not config.stash.get(_PARTIAL, False)
