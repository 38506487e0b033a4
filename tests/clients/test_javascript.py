"""The official `ollama` package for JavaScript, unchanged, on Node with real models."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import (
    CALLER,
    EMBEDDER,
    MODEL,
    MODELS,
    PICTURES,
    QUESTION,
    SAY,
    Doors,
    Models,
)
from tests.clients.table import GGUF

pytestmark = [pytest.mark.model, pytest.mark.client("ollama (JavaScript)")]
HERE = Path(__file__).parent / "javascript"
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`features.mjs` beside the package it uses, in the version of package-lock.json."""
    if not (shutil.which("node") and (npm := shutil.which("npm"))):
        pytest.skip("Node is not installed (apt-get install nodejs npm)")
    folder = tmp_path_factory.mktemp("javascript")
    for file in HERE.iterdir():
        shutil.copy(file, folder)
    done = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True)
    if done.returncode:
        pytest.skip(f"npm could not install the package: {done.stderr.decode()[-200:]}")
    return folder / "features.mjs"


@pytest.fixture(scope="module")
def ask(program: Path, url: str) -> Ask:
    """What a feature of the program came to, with an engine's models and what else it needs."""

    def ask(feature: str, models: Models = MODELS[GGUF], **given: Any) -> Any:
        told = {"host": url, "say": SAY, **asdict(models), **given}
        command = ["node", str(program), feature, json.dumps(told)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert not done.returncode, done.stderr
        return json.loads(done.stdout)

    return ask


@pytest.mark.feature("chat", "chat, streamed", "asynchronous")
def test_a_streamed_chat_is_the_whole_one_in_pieces(ask, models):
    whole, streamed = ask("chat", models)
    assert whole == streamed != ""


@pytest.mark.feature("completion", "completion, streamed")
def test_a_streamed_completion_is_the_whole_one_in_pieces(ask):
    whole, streamed = ask("completion")
    assert whole == streamed != ""


@pytest.mark.feature("chat, streamed")
def test_a_stream_is_aborted(ask):
    assert ask("abort") == "AbortError"


@pytest.mark.feature("tools")
def test_a_tool_is_called_with_its_arguments(ask, models):
    (call,) = ask("tools", models)
    assert (call["name"], call["arguments"]) == ("get_weather", {"city": "Paris"})


@pytest.mark.feature("structured output")
def test_an_answer_has_the_shape_of_the_schema(ask, models):
    answer = ask("structure", models)
    assert answer["size"] in ("small", "large")
    assert isinstance(answer["capital"], bool)


@pytest.mark.feature("embeddings")
def test_texts_become_vectors(ask, models):
    assert [len(vector) for vector in ask("embeddings", models)] == [models.width] * 2


@pytest.mark.feature("images")
def test_an_answer_is_about_the_picture(ask, models, seer):
    one, other = ask("images", models, question=QUESTION, pictures=PICTURES)
    assert one != other


@pytest.mark.feature("list, show, running models")
def test_models_are_listed_shown_and_seen_running(ask):
    listed, family, running = ask("models")
    assert {MODEL, EMBEDDER, CALLER} <= set(listed)
    assert family == "llama"
    assert MODEL in running


@pytest.mark.feature("create, copy, delete")
def test_models_are_made_copied_and_deleted(ask):
    assert ask("changes") == "Be brief."


@pytest.mark.feature("errors")
def test_a_missing_model_is_an_error_with_its_status(ask):
    assert ask("errors") == [404, "model 'nope' not found"]


@pytest.mark.feature("in Jupyter, with its token")
def test_jupyters_token_is_a_header(ask, doors: Doors):
    whole, streamed = ask("chat", host=doors.mount, token=doors.token)
    assert whole == streamed != ""
