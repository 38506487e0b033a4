"""A real `jupyter server`: its clients, its kernels, its log, and what is left when it ends."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import ollama
import psutil
import pytest
from jupyter_client import BlockingKernelClient
from jupyter_core.paths import jupyter_path

from tests.jupyter_ext.process import Server, serving

TOKEN = "a-token-that-must-not-be-logged"
SETTINGS = {
    "ServerApp": {
        "ip": "127.0.0.1",
        "port": 0,
        "open_browser": False,
        "allow_root": True,
        "base_url": "/user/ann/",
        "jpserver_extensions": {"jupyter_ext": False, "tests.jupyter_ext.echoing": True},
    },
    "IdentityProvider": {"token": TOKEN},
    "Application": {"log_level": "DEBUG"},
    "OllmlxApp": {"open_door": True, "door_port": 0, "shared_host": True},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), SETTINGS) as started:
        yield started


def test_the_scripts_of_widgets_are_served_for_front_ends_that_bring_none(server):
    site = server.note["mount"].removesuffix("/ollama")
    with httpx.Client(base_url=f"{site}/nbextensions/", trust_env=False) as http:
        # VS Code looks here for where the scripts are, and shows no widget if one is missing.
        found = [name for name in installed_widgets() if "require" in http.get(name).text]
        assert found == installed_widgets()
        assert "AnyModel" in http.get("anywidget/index.js").text
        assert http.get("..%2fkernels%2fpython3%2fkernel.json").status_code == 404


def installed_widgets() -> list[str]:
    folders = map(Path, jupyter_path("nbextensions"))
    return [str(path.relative_to(top)) for top in folders for path in top.glob("*/extension.js")]


def test_a_kernel_finds_the_door_without_being_told(server):
    api = server.note["mount"].removesuffix("ollama") + "api/kernels"
    with httpx.Client(headers={"Authorization": f"token {TOKEN}"}, trust_env=False) as client:
        kernel = client.post(api, json={}, timeout=60).raise_for_status().json()["id"]
        connection = server.runtime / f"kernel-{kernel}.json"
        said = evaluate(connection, "__import__('ollama').generate('echo', 'hey').response")
        client.delete(f"{api}/{kernel}", timeout=60).raise_for_status()
    assert said == "'hey'"


def evaluate(connection: Path, expression: str) -> str:
    """The `repr` of what a kernel makes of an expression."""
    kernel = BlockingKernelClient(connection_file=str(connection))
    kernel.load_connection_file()
    kernel.start_channels(iopub=False, stdin=False, hb=False, control=False)
    try:
        wanted = {"it": expression}
        reply = kernel.execute("", user_expressions=wanted, reply=True, timeout=60)
        return reply["content"]["user_expressions"]["it"]["data"]["text/plain"]
    finally:
        kernel.stop_channels()
        kernel.context.destroy()


def answer_through_the_secret_path(server: Server) -> str:
    with ollama.Client(f"{server.note['mount']}/t/{server.secret}", trust_env=False) as client:
        return client.generate("echo", "hi").response


def test_stopping_leaves_neither_note_nor_worker_nor_secret_in_the_log(tmp_path):
    with serving(tmp_path, SETTINGS) as server:
        assert answer_through_the_secret_path(server) == "hi"
        workers = server.workers()
        assert len(workers) == 1
        assert server.end() == 0
        assert not list(server.runtime.glob("ollmlx-*"))
        assert psutil.wait_procs(workers, timeout=10)[1] == []
        log = "".join(server.log)
        assert "/ollama/t/[secret]/api/generate" in log
        assert server.secret not in log
        assert TOKEN not in log
        assert "Traceback" not in log


def test_a_killed_server_leaves_no_worker(tmp_path):
    with serving(tmp_path, SETTINGS) as server:
        assert answer_through_the_secret_path(server) == "hi"
        workers = server.workers()
        assert len(workers) == 1
        server.end(signal.SIGKILL)
        assert psutil.wait_procs(workers, timeout=10)[1] == []
