"""`serve`, and the engine of their own that `run` and `pull` start where nobody serves."""

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from ollmlx import __version__, settings
from ollmlx.cli.flags import Words
from ollmlx.errors import OllmlxError
from ollmlx.room import Room
from ollmlx.servers import Server
from ollmlx.store.golang import quoted

log = logging.getLogger(__name__)


class NoLauncher(OllmlxError):
    """Asked to set up a program of somebody else, as Ollama's `launch` does."""


class LogLine(logging.Formatter):
    """Lines as in Ollama's log, which programs take apart: `time=… level=… source=… msg="…"`."""

    def format(self, record: logging.LogRecord) -> str:
        created = datetime.fromtimestamp(record.created).astimezone()
        when = created.isoformat(timespec="milliseconds")
        level = "WARN" if record.levelno == logging.WARNING else record.levelname
        source, told = f"{record.filename}:{record.lineno}", quoted(record.getMessage())
        line = f"time={when} level={level} source={source} msg={told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def serve(_: Words) -> None:
    configured = settings.from_environment()
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(LogLine())
    level = logging.DEBUG if configured.debug else logging.INFO
    logging.basicConfig(level=level, handlers=[lines])
    if remark := settings.remark():
        log.warning("%s", remark)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    room = Room(configured)
    room.start()
    try:
        port = room.open_door(configured.host, configured.port)
    except OSError as error:
        room.stop()
        if error.errno and error.errno < 0:  # getaddrinfo's number
            raise OllmlxError(f"listen tcp: lookup {configured.host}: no such host") from error
        where = f"{configured.host}:{configured.port}"
        # The loop puts words of its own after those of the system.
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise OllmlxError(f"listen tcp {where}: bind: {why}") from error
    # Programs that start a server wait for this line of Ollama's.
    log.info("Listening on %s:%s (version %s)", configured.host or "[::]", port, __version__)
    stopped.wait()
    room.stop()


def launch(_: Words) -> None:
    raise NoLauncher("ollmlx sets up no other programs: point them at OLLAMA_HOST instead")


@contextmanager
def own_engine() -> Iterator[Server]:
    """An engine in this process, behind a secret on a free port, until the block ends."""
    # It is the command that says what went wrong.
    logging.getLogger("tornado").setLevel(logging.CRITICAL)
    room, secret = Room(settings.from_environment()), secrets.token_urlsafe(16)
    room.start(take_over=False)  # a command does what it was asked to, and no more
    try:
        port = room.open_door("127.0.0.1", 0, secret)
        yield Server(f"http://127.0.0.1:{port}/t/{secret}", "an engine of its own")
    finally:
        room.stop()
