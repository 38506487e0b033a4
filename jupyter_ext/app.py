"""The extension: traits → `Settings`; starts and stops the engine room with the Jupyter server."""

import asyncio
import atexit
import errno
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_path
from jupyter_server._tz import utcnow
from jupyter_server.base.handlers import FileFindHandler
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.ioloop import PeriodicCallback
from tornado.web import Application
from traitlets import Bool, Enum, Integer, List, TraitError, Unicode, default, validate

from jupyter_ext import door, note, observing, secret
from jupyter_ext.guard import Mount
from jupyter_ext.handlers import at_root, below_prefix
from ollmlx import __version__
from ollmlx.errors import BadRequest
from ollmlx.room import Room
from ollmlx.settings import Settings, from_environment, is_loopback, listening, remark

_PULSE_MS = 15_000
_PREFIX = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)


class OllmlxApp(ExtensionApp):
    """Local language models inside this Jupyter server, behind the Ollama API.

    A trait that is not set leaves its setting to the environment variable that its help names.
    """

    name = "ollmlx"
    version = __version__
    description = __doc__
    extension_url = "/lab"

    # -- where the API is

    mount_prefix = Unicode(
        "ollama",
        help="Where the API is mounted below Jupyter's base URL: `/ollama/api/chat`.",
    ).tag(config=True)
    mount_at_root = Bool(
        False,
        help="""Also answer Ollama's paths at Jupyter's own root (`/api/chat`, `/v1/…`).
        What Jupyter answers there itself (GET /, /api/status, GET /api/me) stays Jupyter's.""",
    ).tag(config=True)
    allowed_hosts = List(
        Unicode(),
        help="""Host names under which the API may be called, besides those Jupyter allows and
        those Ollama allows (localhost, this machine's name, *.local, *.internal, private
        addresses).""",
    ).tag(config=True)
    max_body = Integer(
        1 << 30, min=1, help="Largest request body in bytes; uploads of model files are apart."
    ).tag(config=True)

    # -- the open door

    open_door = Bool(
        False,
        help="""Also listen on Ollama's own port, without authentication, for clients that know
        no token.  Every user of this machine can reach it; see `shared_host`.""",
    ).tag(config=True)
    door_host = Unicode(
        help="""Address of the open door; default: OLLAMA_HOST's when that is this machine, else
        127.0.0.1."""
    ).tag(config=True)
    door_port = Integer(
        min=0,
        max=65535,
        help="Port of the open door, 0 for any free one; default: as `door_host`, else 11434.",
    ).tag(config=True)
    shared_host = Bool(
        help="""Whether others use this machine: the open door then serves only addresses with the
        secret path, which this user's kernels and terminals are given.  Default: under
        JupyterHub."""
    ).tag(config=True)
    export_host = Bool(
        True,
        help="""Hand new kernels and terminals OLLAMA_HOST, so that any Ollama client in them finds
        the open door.  An OLLAMA_HOST of your own is never replaced.""",
    ).tag(config=True)

    # -- the engine

    models = Unicode(
        None,
        allow_none=True,
        help="Directory of the models, in Ollama's layout.  OLLAMA_MODELS, else ~/.ollama/models.",
    ).tag(config=True, variable="OLLAMA_MODELS")
    keep_alive = Unicode(
        None,
        allow_none=True,
        help="""How long a model stays loaded after its last request: 10m, 24h, -1 for ever.
        OLLAMA_KEEP_ALIVE, else 5m.""",
    ).tag(config=True, variable="OLLAMA_KEEP_ALIVE")
    load_timeout = Unicode(
        None,
        allow_none=True,
        help="How long a load may make no progress.  OLLAMA_LOAD_TIMEOUT, else 5m.",
    ).tag(config=True, variable="OLLAMA_LOAD_TIMEOUT")
    num_parallel = Integer(
        None,
        allow_none=True,
        help="""Sequences a model runs at once; 0 is what memory has room for, up to 8, on a GPU 32.
        OLLAMA_NUM_PARALLEL, else 0.""",
    ).tag(config=True, variable="OLLAMA_NUM_PARALLEL")
    max_loaded_models = Integer(
        None, allow_none=True, help="Models loaded at once.  OLLAMA_MAX_LOADED_MODELS, else 3."
    ).tag(config=True, variable="OLLAMA_MAX_LOADED_MODELS")
    max_queue = Integer(
        None,
        allow_none=True,
        help="Requests that may wait for a model to load.  OLLAMA_MAX_QUEUE, else 512.",
    ).tag(config=True, variable="OLLAMA_MAX_QUEUE")
    context_length = Integer(
        None,
        allow_none=True,
        help="""Default num_ctx; 0 is 4096, or 32768 from 23 GiB of graphics memory on, 262144 from
        47 GiB.  OLLAMA_CONTEXT_LENGTH, else 0.""",
    ).tag(config=True, variable="OLLAMA_CONTEXT_LENGTH")
    origins = List(
        Unicode(),
        default_value=None,
        allow_none=True,
        help="Browser origins allowed besides Ollama's defaults; * is all.  OLLAMA_ORIGINS.",
    ).tag(config=True, variable="OLLAMA_ORIGINS")
    flash_attention = Bool(
        None,
        allow_none=True,
        help="Use flash attention.  OLLAMA_FLASH_ATTENTION, else the engine chooses.",
    ).tag(config=True, variable="OLLAMA_FLASH_ATTENTION")
    kv_cache_type = Enum(
        ("f16", "q8_0", "q4_0"),
        default_value=None,
        allow_none=True,
        help="""Numbers the context is kept in: f16, q8_0 or q4_0.
        OLLAMA_KV_CACHE_TYPE, else f16.""",
    ).tag(config=True, variable="OLLAMA_KV_CACHE_TYPE")
    go_template = Bool(
        None,
        allow_none=True,
        help="""True: use a Modelfile's TEMPLATE; False: the chat template in the weights.
        OLLAMA_GO_TEMPLATE, else the better known of the two.""",
    ).tag(config=True, variable="OLLAMA_GO_TEMPLATE")
    embedded = Bool(
        None,
        allow_none=True,
        help="List the small model that ollmlx[demo] brings along.  OLLMLX_EMBEDDED, else yes.",
    ).tag(config=True, variable="OLLMLX_EMBEDDED")
    noprune = Bool(
        None,
        allow_none=True,
        help="Keep files in the directory of models that no model needs any more.  OLLAMA_NOPRUNE.",
    ).tag(config=True, variable="OLLAMA_NOPRUNE")
    debug = Bool(None, allow_none=True, help="Log what the engines do.  OLLAMA_DEBUG.").tag(
        config=True, variable="OLLAMA_DEBUG"
    )

    @default("door_host")
    def _default_door_host(self) -> str:
        return _door_of_environment()[0]

    @default("door_port")
    def _default_door_port(self) -> int:
        return _door_of_environment()[1]

    @default("shared_host")
    def _default_shared_host(self) -> bool:
        return "JUPYTERHUB_API_TOKEN" in os.environ

    @validate("mount_prefix")
    def _validate_mount_prefix(self, proposal: dict[str, Any]) -> str:
        prefix = str(proposal["value"]).strip("/")
        if not prefix:
            raise TraitError("mount_prefix is empty; mount_at_root is for a mount at the root")
        if not _PREFIX.fullmatch(prefix):
            raise TraitError(f"mount_prefix is names with / between, not {prefix!r}")
        return prefix

    # -- life

    _meant = False
    """Whether the settings could be; Jupyter starts and stops an extension whose were refused."""

    def initialize_settings(self) -> None:
        self.secret = secret.new_secret()
        self.engine_settings = self.read_settings()
        self.room = self.make_room(self.engine_settings)
        self._door_port: int | None = None
        self._exported: dict[str, tuple[str, str | None]] = {}
        self._note: Path | None = None
        self._collector: observing.Collector | None = None
        self._stop_telling: Callable[[], None] | None = None
        self._pulse = PeriodicCallback(self._tell_activity, _PULSE_MS)
        self._meant = True
        if log_function := self.settings.get("log_function"):
            self.settings["log_function"] = secret.concealing(log_function, self.secret)

    def initialize_handlers(self) -> None:
        app = self._server
        base = app.base_url.rstrip("/")
        mount = self._mount(f"{base}/{self.mount_prefix}")
        self.handlers.append(below_prefix(self.mount_prefix, mount))
        # Where VS Code looks for the scripts of widgets before it would ask a CDN; Jupyter's server
        # itself serves them no more.
        scripts = {"path": jupyter_path("nbextensions")}
        self.handlers.append((r"/nbextensions/(.*)", FileFindHandler, scripts))
        # Where the panel in JupyterLab finds us; without it, it says what is missing.
        page = app.web_app.settings.setdefault("page_config_data", {})
        page["ollmlxPrefix"] = self.mount_prefix
        if self.mount_at_root:
            web_app: Application = app.web_app
            web_app.add_handlers(".*$", [at_root(app.base_url, self._mount(base))])

    def make_room(self, settings: Settings) -> Room:
        """For subclasses: a room with another library."""
        return Room(settings)

    def read_settings(self) -> Settings:
        """Traits over environment.  Raises `TraitError` for a value that cannot be meant."""
        set_here = {
            trait.metadata["variable"]: _as_variable(getattr(self, name))
            for name, trait in self.traits(variable=lambda variable: variable is not None).items()
            if getattr(self, name) is not None
        }
        try:
            settings = from_environment({**os.environ, **set_here})
        except BadRequest as error:
            raise TraitError(str(error)) from None  # Jupyter logs what an error comes from in full
        return replace(settings, host=self.door_host, port=self.door_port)

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        if not self._meant:
            return
        # In threads: starting waits for the room's own loop, and Jupyter's must not wait.
        atexit.register(self.close)
        if told := remark():
            self.log.warning("ollmlx: %s", told)
        await asyncio.to_thread(self.room.start)
        self._collector = observing.Collector(self.room)
        assert serverapp.event_logger is not None  # made before extensions are started
        self._stop_telling = observing.tell(self.room, serverapp.event_logger)
        if self.models is not None:
            # `ollmlx convert` works on the store itself: on this one, in a kernel or a terminal.
            self._export("OLLAMA_MODELS", str(self.engine_settings.models))
        if self.open_door:
            await asyncio.to_thread(self._open)
        await asyncio.to_thread(self._leave_note)
        self._pulse.start()

    async def stop_extension(self) -> None:
        if not self._meant:
            return
        self._pulse.stop()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Take back what was handed out, close the room; idempotent, also run at exit."""
        atexit.unregister(self.close)
        if self._note is not None:
            self._note.unlink(missing_ok=True)
        for name, (value, before) in self._exported.items():
            if os.environ.get(name) == value:
                del os.environ[name]
                os.environ.update({name: before} if before is not None else {})
        self._exported.clear()
        if self._collector and self._stop_telling:
            self._collector.close()
            self._stop_telling()
            self._collector = self._stop_telling = None
        self.room.stop()

    def current_activity(self) -> bool:
        """For Jupyter's own idle shutdown."""
        return self.room.busy()

    # -- parts

    @property
    def _server(self) -> ServerApp:
        assert self.serverapp is not None
        return self.serverapp

    @property
    def _runtime_dir(self) -> Path:
        return Path(self._server.runtime_dir)

    @property
    def _door_secret(self) -> str:
        return self.secret if self.shared_host else ""

    def _mount(self, path: str) -> Mount:
        return Mount(
            room=self.room,
            path=path,
            secret=self.secret,
            origins=self.engine_settings.origins,
            hosts=frozenset(host.lower() for host in self.allowed_hosts),
            max_body=self.max_body,
        )

    def _open(self) -> None:
        """A port that is taken costs the open door, nothing else."""
        host, port = self.door_host, self.door_port
        if not (self.shared_host or is_loopback(host)):
            self.log.warning("ollmlx: everybody who reaches %s can use the open door", host)
        try:
            self._door_port = self.room.open_door(host, port, self._door_secret)
        except OSError as error:
            self._report_closed_door(error)
            return
        self.log.info("ollmlx: open door at %s", door.address(host, self._door_port))
        if self.export_host and "OLLAMA_HOST" not in os.environ:
            address = door.address(host, self._door_port, self._door_secret)
            self._export("OLLAMA_HOST", address)

    def _export(self, name: str, value: str) -> None:
        """Hand a variable to new kernels and terminals, until `close`."""
        self._exported[name] = (value, os.environ.get(name))
        os.environ[name] = value

    def _report_closed_door(self, error: OSError) -> None:
        host, port, why = self.door_host, self.door_port, error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            why = f"it is held by {door.holder(host, port, self._runtime_dir)}"
        self.log.warning(
            "ollmlx: cannot open the door at %s: %s.  Clients that go there do not reach this "
            "server; /%s and notebooks work.  Another port: --OllmlxApp.door_port=…",
            door.address(host, port),
            why,
            self.mount_prefix,
        )

    def _leave_note(self) -> None:
        mount = url_path_join(self._server.connection_url, self.mount_prefix)
        url = f"{mount}{secret.prefix(self.secret)}"
        if self._door_port is not None:
            # Straight to the room: it answers even while another extension blocks Jupyter's loop.
            url = door.address(self.door_host, self._door_port, self._door_secret)
        certificate = os.path.abspath(self._server.certfile) if self._server.certfile else ""
        self._note = note.write(
            self._runtime_dir, note.Note(url, mount, self._door_port, os.getpid(), certificate)
        )
        self.log.info("ollmlx: Ollama's API at %s, with Jupyter's token", mount)

    def _tell_activity(self) -> None:
        """A long answer is work, also where no request of it passes through Jupyter."""
        if self.room.busy():
            self._server.web_app.settings["ollmlx_last_activity"] = utcnow()


def _door_of_environment() -> tuple[str, int]:
    """OLLAMA_HOST may name a server elsewhere: only a loopback address is for our door."""
    host, port = listening()
    return (host, port) if is_loopback(host) else ("127.0.0.1", 11434)


def _as_variable(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return ",".join(value) if isinstance(value, list) else str(value)


main = OllmlxApp.launch_instance
