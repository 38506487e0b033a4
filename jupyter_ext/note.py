"""The note `ollmlx-<pid>.json` in Jupyter's runtime directory: how clients find this server.

It holds an address with the secret in it, so only its owner may read it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Note:
    url: str
    """Base of the Ollama API, with everything a client needs to come in."""
    mount: str
    """The same below Jupyter, for clients that bring Jupyter's token."""
    door_port: int | None
    pid: int
    certificate: str = ""
    """Path of the certificate that an HTTPS server shows."""


def path(runtime_dir: Path, pid: int) -> Path:
    return runtime_dir / f"ollmlx-{pid}.json"


def write(runtime_dir: Path, note: Note) -> Path:
    """Private from its first byte; whole from its first look."""
    file = path(runtime_dir, note.pid)
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as stream:
        json.dump(asdict(note), stream)
    draft.replace(file)
    return file


def others(runtime_dir: Path) -> Iterator[Note]:
    """The notes of servers that live; what a killed one left behind is passed over."""
    for file in runtime_dir.glob("ollmlx-*.json"):
        try:
            note = Note(**json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):  # gone meanwhile, or of another version
            continue
        if note.pid != os.getpid() and psutil.pid_exists(note.pid):
            yield note
