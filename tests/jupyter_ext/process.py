"""A real `jupyter server` as a process, everything it wrote, and what it left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import psutil

PATIENCE_SECONDS = 60


class Server:
    """Runs until `end`; its settings, runtime files and notes are in a folder of its own."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.runtime = folder / "runtime"
        config = folder / "jupyter_server_config.json"
        config.write_text(json.dumps(settings))
        environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(self.runtime)}
        environment |= {"JUPYTER_CONFIG_DIR": str(folder), "IPYTHONDIR": str(folder / "ipython")}
        environment.pop("OLLAMA_HOST", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", f"--ServerApp.root_dir={folder}"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        assert self.process.stderr is not None
        patience = Timer(PATIENCE_SECONDS, self.process.kill)
        patience.start()
        for line in self.process.stderr:
            self.log.append(line)
            if "Ollama's API at" in line:
                break
        patience.cancel()
        assert "Ollama's API at" in self.log[-1], "".join(self.log)
        self.reader = Thread(target=self.log.extend, args=(self.process.stderr,))
        self.reader.start()
        self.note = json.loads((self.runtime / f"ollmlx-{self.process.pid}.json").read_bytes())

    @property
    def secret(self) -> str:
        return self.note["url"].partition("/t/")[2]

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "ollmlx.engine.worker" in child.cmdline()]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextmanager
def serving(folder: Path, settings: dict[str, Any]) -> Iterator[Server]:
    server = Server(folder, settings)
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.end()
