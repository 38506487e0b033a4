"""What the extension opens, hands out and takes back, and how traits become settings."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO

import httpx
import ollama
import pytest
from tornado.testing import bind_unused_port
from traitlets import TraitError

from jupyter_ext import note
from jupyter_ext.app import OllmlxApp
from ollmlx.errors import OllmlxError
from ollmlx.room import Room
from ollmlx.settings import Settings
from tests.echo import EchoLibrary
from tests.serving import served


@pytest.fixture
def jp_server_config():
    return {
        "ServerApp": {"jpserver_extensions": {"tests.jupyter_ext.echoing": True}},
        "OllmlxApp": {"open_door": True, "door_port": 0},
    }


@pytest.fixture(autouse=True)
def no_host_of_our_own(monkeypatch):
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)


@pytest.fixture
async def started(extension, jp_serverapp, told) -> OllmlxApp:
    """The extension after Jupyter's start hook, which pytest-jupyter leaves out."""
    await jp_serverapp.extension_manager.start_all_extensions()
    yield extension
    await extension.stop_extension()


@pytest.fixture
def told(extension) -> Iterator[StringIO]:
    """What the extension logs."""
    handler = logging.StreamHandler(StringIO())
    extension.log.addHandler(handler)
    yield handler.stream
    extension.log.removeHandler(handler)


def left_note(extension) -> note.Note:
    file = note.path(extension._runtime_dir, os.getpid())
    return note.Note(**json.loads(file.read_bytes()))


async def status(url: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(url)).status_code


async def test_the_note_tells_its_owner_alone_how_to_come_in(started, jp_base_url):
    file = note.path(started._runtime_dir, os.getpid())
    assert file.stat().st_mode & 0o777 == 0o600
    left = left_note(started)
    assert left.mount.endswith(f"{jp_base_url}ollama")
    assert await status(f"{left.url}/api/version") == 200
    await started.stop_extension()
    assert not file.exists()


async def test_the_door_is_where_kernels_look_and_is_taken_back(started):
    assert os.environ["OLLAMA_HOST"] == f"http://127.0.0.1:{left_note(started).door_port}"
    await started.stop_extension()
    assert "OLLAMA_HOST" not in os.environ


async def test_a_synchronous_client_on_jupyters_own_loop_is_no_deadlock(started):
    with ollama.Client(timeout=5) as client:
        assert [model.model for model in client.list().models] == ["echo:latest"]
        assert client.generate("echo", "hi").response == "hi"


async def test_closing_twice_does_nothing_more(started):
    started.close()
    started.close()


class TestWithAHostOfOnesOwn:
    @pytest.fixture(autouse=True)
    def no_host_of_our_own(self, monkeypatch):
        monkeypatch.setenv("OLLAMA_HOST", "http://gpu-box:11434")

    async def test_it_is_never_replaced(self, started):
        assert started.door_host == "127.0.0.1"
        assert os.environ["OLLAMA_HOST"] == "http://gpu-box:11434"
        await started.stop_extension()
        assert os.environ["OLLAMA_HOST"] == "http://gpu-box:11434"


class TestWithAStoreOfItsOwn:
    @pytest.fixture
    def jp_server_config(self, jp_server_config, monkeypatch):
        monkeypatch.setenv("OLLAMA_MODELS", "/somewhere/else")
        jp_server_config["OllmlxApp"]["models"] = "/the/store"
        return jp_server_config

    async def test_commands_in_kernels_and_terminals_work_on_it(self, started):
        assert os.environ["OLLAMA_MODELS"] == "/the/store"
        await started.stop_extension()
        assert os.environ["OLLAMA_MODELS"] == "/somewhere/else"


class TestOnASharedHost:
    @pytest.fixture(autouse=True)
    def on_the_hub(self, monkeypatch):
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "x")

    async def test_the_door_serves_only_the_secret_path(self, started):
        address = left_note(started).url
        assert os.environ["OLLAMA_HOST"] == address
        assert started.secret in address
        with ollama.Client(timeout=5) as client:
            assert client.list().models
        bare = address.partition("/t/")[0]
        assert await status(f"{bare}/api/version") == 404


class TestWithoutADoor:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        del jp_server_config["OllmlxApp"]["open_door"]
        return jp_server_config

    async def test_nothing_is_handed_to_kernels_and_the_note_has_the_secret_path(self, started):
        assert "OLLAMA_HOST" not in os.environ
        left = left_note(started)
        assert left.door_port is None
        assert left.url == f"{left.mount}/t/{started.secret}"


# Tornado 6.6 leaves a socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
class TestWithABusyPort:
    holder = "another program, which does not speak Ollama's API"

    @pytest.fixture
    def taken(self):
        listener, port = bind_unused_port()
        with listener:
            yield port

    @pytest.fixture
    def jp_server_config(self, jp_server_config, taken):
        jp_server_config["OllmlxApp"]["door_port"] = taken
        return jp_server_config

    async def test_it_is_reported(self, started, taken, told):
        report = f"cannot open the door at http://127.0.0.1:{taken}: it is held by {self.holder}"
        assert report in told.getvalue()

    async def test_the_mount_works_and_kernels_are_sent_nowhere(self, started, call, token):
        assert "OLLAMA_HOST" not in os.environ
        response = await call("GET", "/api/tags", headers={"x-api-key": token})
        assert json.loads(response.body)["models"][0]["name"] == "echo:latest"


class TestWithAPortThatOllamaHolds(TestWithABusyPort):
    holder = "an Ollama server, version "

    @pytest.fixture
    def taken(self):
        with served(Settings(), EchoLibrary()) as url:
            yield int(url.rpartition(":")[2])


class TestWithAPortThatAnotherOllmlxHolds(TestWithABusyPort):
    holder = f"the ollmlx of the Jupyter server with process id {os.getppid()}"

    @pytest.fixture
    def extension(self, extension, taken):
        note.write(extension._runtime_dir, note.Note("http://x", "http://x", taken, os.getppid()))
        return extension


def test_a_server_that_ends_while_it_starts_opens_no_room():
    room = Room(Settings(), EchoLibrary())
    room.stop()
    with pytest.raises(OllmlxError, match="ended before"):
        room.start()
    room.stop()


def test_a_room_ends_with_its_interpreter_without_a_word(tmp_path):
    program = (
        "import atexit, pathlib;"
        "from ollmlx.room import Room; from ollmlx.settings import Settings;"
        f"room = Room(Settings(models=pathlib.Path({str(tmp_path)!r})));"
        "room.start(); atexit.register(room.stop)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


async def test_an_extension_whose_settings_were_refused_is_neither_started_nor_stopped():
    app = OllmlxApp(keep_alive="soon")
    with pytest.raises(TraitError, match="OLLAMA_KEEP_ALIVE"):
        app.initialize_settings()
    await app._start_jupyter_server_extension(None)
    await app.stop_extension()


async def test_a_door_that_is_closed_again_frees_its_port(started):
    port = left_note(started).door_port
    await started.stop_extension()
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(
    ("trait", "value", "setting", "expected"),
    [
        ("keep_alive", "10m", "keep_alive", 600.0),
        ("keep_alive", "-1", "keep_alive", float("inf")),
        ("num_parallel", 3, "num_parallel", 3),
        ("origins", ["https://a", "https://b"], "origins", ("https://a", "https://b")),
        ("flash_attention", False, "flash_attention", False),
        ("embedded", False, "embedded", False),
        ("kv_cache_type", "q8_0", "kv_cache_type", "q8_0"),
        ("door_port", 4000, "port", 4000),
    ],
)
def test_a_trait_is_a_setting(trait, value, setting, expected):
    assert getattr(OllmlxApp(**{trait: value}).read_settings(), setting) == expected


def test_a_trait_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("OLLAMA_KEEP_ALIVE", "1h")
    assert OllmlxApp().read_settings().keep_alive == 3600
    assert OllmlxApp(keep_alive="2h").read_settings().keep_alive == 7200


def test_every_setting_has_a_trait_with_help():
    named = {"host": "door_host", "port": "door_port"}
    for setting in Settings.__dataclass_fields__:
        assert OllmlxApp.class_traits(config=True)[named.get(setting, setting)].help


def test_a_value_that_cannot_be_meant_is_named():
    with pytest.raises(TraitError, match="OLLAMA_KEEP_ALIVE"):
        OllmlxApp(keep_alive="soon").read_settings()


def test_an_address_that_cannot_be_meant_is_an_error_that_names_its_variable(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "1.2.3.4:-1")
    with pytest.raises(TraitError, match="OLLAMA_HOST"):
        OllmlxApp().read_settings()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("", ("127.0.0.1", 11434)),
        ("127.0.0.1:4000", ("127.0.0.1", 4000)),
        ("0.0.0.0:4000", ("127.0.0.1", 11434)),
        ("gpu-box:4000", ("127.0.0.1", 11434)),
    ],
)
def test_the_door_follows_ollama_host_only_to_this_machine(monkeypatch, host, expected):
    monkeypatch.setenv("OLLAMA_HOST", host)
    app = OllmlxApp()
    assert (app.door_host, app.door_port) == expected


def test_an_empty_prefix_is_refused():
    with pytest.raises(TraitError, match="mount_at_root"):
        OllmlxApp(mount_prefix="/")


@pytest.mark.parametrize(
    ("name", "value"),
    [("mount_prefix", "../x"), ("mount_prefix", "a b"), ("door_port", 70000), ("max_body", 0)],
)
def test_a_trait_that_cannot_be_meant_is_refused_by_name(name, value):
    assert OllmlxApp(mount_prefix="/models/v1.0/").mount_prefix == "models/v1.0"
    with pytest.raises(TraitError, match=name):
        OllmlxApp(**{name: value})
