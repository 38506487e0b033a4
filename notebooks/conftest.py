"""Runs the notebooks in kernels that find a real Jupyter server with the extension."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_SECONDS = 60
READY = "ollmlx: Ollama's API at"
_SERVER = pytest.StashKey[dict[str, str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """A notebook's kernel starts in the set-up of its first cell, and inherits what is set here."""
    with changed(environment(item.config)):
        yield


def environment(config: pytest.Config) -> dict[str, str]:
    """Variables for the kernels; the first call starts the server, which ends with the session."""
    if _SERVER not in config.stash:
        folder = tempfile.TemporaryDirectory(prefix="ollmlx-notebooks-")
        config.add_cleanup(folder.cleanup)
        config.stash[_SERVER] = start(config, Path(folder.name))
    return config.stash[_SERVER]


def start(config: pytest.Config, folder: Path) -> dict[str, str]:
    """A Jupyter server with models, configuration and runtime files of its own."""
    # What a magic prints is compared; an output that is replaced as it grows would not be.
    shared = {"OLLAMA_MODELS": str(folder / "models"), "OLLMLX_PLAIN": "1"}
    shared |= {"IPYTHONDIR": str(folder / "ipython"), "npm_config_logs_max": "0"}
    places = ("CONFIG", "DATA", "RUNTIME")
    private = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in places}
    command = [sys.executable, "-m", "jupyter_server", "--port=0", "--no-browser", "--allow-root"]
    server = subprocess.Popen(
        [*command, f"--ServerApp.root_dir={folder}"],
        env=os.environ | shared | private,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    config.add_cleanup(lambda: stop(server))
    wait_until_ready(server)
    note = folder / "runtime" / f"ollmlx-{server.pid}.json"
    # The programs beside this Python come first, as in a terminal of the environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**shared, "PATH": path, "OLLMLX_HOST": address(note)}


def address(note: Path) -> str:
    return str(json.loads(note.read_text())["url"])


def wait_until_ready(server: "subprocess.Popen[str]") -> None:
    assert server.stderr is not None
    said = []
    patience = threading.Timer(PATIENCE_SECONDS, server.kill)
    patience.start()
    for line in server.stderr:
        said.append(line)
        if READY in line:
            break
    else:
        raise RuntimeError("the Jupyter server has no ollmlx:\n" + "".join(said))
    patience.cancel()
    # Its log has to go on being read: once the pipe is full, the server would stand still.
    threading.Thread(target=server.stderr.read, daemon=True).start()


def stop(server: "subprocess.Popen[str]") -> None:
    server.terminate()
    server.wait(30)
    if server.stderr:
        server.stderr.close()


@contextmanager
def changed(variables: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield
