"""`%ollmlx convert` and `%ollmlx serve`: the `ollmlx` command as a process of its own."""

import os
import socket
import subprocess
import sys
import threading
from argparse import Namespace

from ollmlx.batch.progress import new_bar
from ollmlx.notebook.errors import Failed, Interrupted, Misused
from ollmlx.notebook.saying import say
from ollmlx.notebook.session import Session
from ollmlx.notebook.terminal import Program
from ollmlx.servers import NoServer, Server, find

_COMMAND = (sys.executable, "-m", "ollmlx.cli")
_BAR = "▕"
_LISTENING = "Listening on"
_PATIENCE_SECONDS = 60
# Ends the server when this kernel does, however that comes about: its stdin is then at its end.
_MINDER = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
sys.stdin.read()
server.terminate()
server.wait()
"""


def convert(session: Session, given: Namespace) -> None:
    """The server must read the models of this machine, or it will not see the new one."""
    if not find().local:
        raise Misused("the server is on another machine; convert there, with `ollmlx convert`")
    flags = [f"--dtype={given.dtype}"] if given.dtype else []
    flags += ["--replace"] if given.replace else []
    names = [given.source, *([given.target] if given.target else [])]
    bar, drawn, said = new_bar(), "", list[str]()
    with Program([*_COMMAND, "convert", *flags, "--", *names]) as program:
        try:
            for line, stays in program.drawings():
                if stays and _BAR not in line:
                    said.append(line)
                else:
                    bar.show(drawn := line)
            status = program.status()
        except KeyboardInterrupt:
            raise Interrupted("stopped; nothing was made") from None
    if drawn:
        bar.show(drawn if status else f"converting {given.source}: done", final=True)
    text = "\n".join(said)
    if status:
        raise Failed(text.removeprefix("Error: ") or f"converting ended with status {status}")
    say(text)


def serve(session: Session, given: Namespace) -> None:
    """What it starts is found by everything in this kernel, and by what the kernel starts."""
    if not 0 <= given.port < 65536:
        raise Misused("--port is a number from 0, which is any free one, to 65535")
    if given.stop:
        _stop(session)
    elif there := _answering():
        say(f"{there.place} answers already (found by: {there.rule})")
    else:
        session.close()
        started = Started(given.port)
        session.server = started
        os.environ["OLLMLX_HOST"] = started.url
        say(f"serving at {started.url}, for as long as this kernel runs")


class Started:
    """`ollmlx serve`, as long as this kernel runs."""

    def __init__(self, port: int = 0) -> None:
        """On a free port for 0.  Raises `Failed`."""
        address = f"127.0.0.1:{port or _free_port()}"
        self.url = f"http://{address}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MINDER, *_COMMAND, "serve"],
            env={**os.environ, "OLLAMA_HOST": address},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self._reader: threading.Thread | None = None
        self._wait()

    def end(self) -> None:
        if os.environ.get("OLLMLX_HOST") == self.url:
            del os.environ["OLLMLX_HOST"]
        assert self._process.stdin
        assert self._process.stderr
        self._process.stdin.close()
        self._process.wait()
        if self._reader:
            self._reader.join()
        self._process.stderr.close()

    def _wait(self) -> None:
        assert self._process.stderr
        patience = threading.Timer(_PATIENCE_SECONDS, self._process.kill)
        patience.start()
        last = ""
        for line in self._process.stderr:
            last = line.strip() or last
            if _LISTENING in line or line.startswith("Error:"):
                break
        patience.cancel()
        if _LISTENING not in last:
            self.end()
            raise Failed(f"the server did not start: {last.removeprefix('Error: ')}")
        # Its log has to go on being read: once the pipe is full, the server would stand still.
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()


def _stop(session: Session) -> None:
    if not session.server:
        raise Misused("no server was started by %ollmlx serve in this kernel")
    session.close()
    say("stopped")


def _answering() -> Server | None:
    try:
        found = find()
    except NoServer:
        return None
    return found if found.answers() else None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
