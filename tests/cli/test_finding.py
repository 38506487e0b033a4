"""Which server the command speaks to, and the engine of its own where there is none."""

import io
import json
import sys
import threading
from pathlib import Path

import pytest

from ollmlx import servers
from ollmlx.cli.connection import Unreachable, server
from ollmlx.cli.program import run
from tests.toy import REPLY


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where nothing serves: its Jupyter runtime folder.

    Whether something listens on 11434 is up to the machine the tests run on: the constant is
    pointed at a port where nobody can be.
    """
    monkeypatch.setattr(servers, "DEFAULT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for name in ("OLLAMA_HOST", "OLLMLX_HOST", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    return tmp_path


def test_run_starts_an_engine_and_stops_it(alone, scripted, capsys):
    before = set(threading.enumerate())
    run(["run", str(scripted.gguf), "hi"])
    shown = capsys.readouterr()
    assert shown.out == f"{REPLY}\n\n"
    assert shown.err == ""
    # asyncio's own threads may take a moment; the engine's has to be gone.
    assert not {t for t in threading.enumerate() if t.name == "ollmlx"} - before


def test_other_commands_want_a_server(alone):
    with pytest.raises(Unreachable, match="could not connect to ollama server"):
        run(["list"])


def test_a_running_jupyter_server_is_found_by_itself(alone, echoing, capsys):
    (alone / "ollmlx-7.json").write_text(json.dumps({"url": f"http://{echoing}"}))
    run(["run", "echo", "found"])
    assert capsys.readouterr().out == "found\n\n"


def test_an_address_in_the_environment_is_taken_at_its_word(alone, echoing):
    (alone / "ollmlx-7.json").write_text(json.dumps({"url": f"http://{echoing}"}))
    assert server({"OLLAMA_HOST": ' "box:8000"'}).url == "http://box:8000"
    assert server({"OLLAMA_HOST": "box", "OLLMLX_HOST": "mine"}).url == "http://mine:11434"
    assert server({}).url == f"http://{echoing}"
