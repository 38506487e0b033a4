"""Jobs that outlive their server: a small file for each, in `jobs/` beside the models.

A file names the server whose job it is.  Where that is gone, the next one to look takes it over.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec import Struct, structs

from ollmlx.store.appearing import write_whole
from ollmlx.store.ollama.blobs import storing

_FOLDER = "jobs"


class KeptJob(Struct, frozen=True):
    id: str
    kind: str
    model: str
    request: dict[str, Any]
    status: str
    created_at: str
    error: str = ""
    sizes: dict[str, int] = {}
    """Bytes of every file by digest, as far as they are known."""
    completed: dict[str, int] = {}
    owner: tuple[int, float] | None = None
    """Process id of its server and when that started; None after an orderly end."""


class JobFiles:
    """Everything here blocks on the disk."""

    def __init__(self, root: Path) -> None:
        self._folder = root / _FOLDER
        self._owner = (os.getpid(), psutil.Process().create_time())

    def write(self, job: KeptJob) -> None:
        """Whole or not at all, also when the machine stops.  Raises `CannotStore`."""
        self._write(structs.replace(job, owner=self._owner))

    def remove(self, job_id: str) -> None:
        """Raises `CannotStore`."""
        with storing(self._folder):
            self._path(job_id).unlink(missing_ok=True)
            with suppress(OSError):
                self._folder.rmdir()  # empty

    def release(self, jobs: list[KeptJob]) -> None:
        """Leave jobs to the next server.  Raises `CannotStore`."""
        for job in jobs:
            self._write(structs.replace(job, owner=None))

    def abandoned(self) -> list[KeptJob]:
        """Jobs whose server is gone, oldest first; a file that cannot be read is no job's."""
        found = []
        for path in self._folder.glob("*.json"):
            try:
                job = msgspec.json.decode(path.read_bytes(), type=KeptJob)
            except (OSError, msgspec.DecodeError):
                continue
            if job.owner is None or not _lives(job.owner):
                found.append(job)
        return sorted(found, key=lambda job: job.created_at)

    def _write(self, job: KeptJob) -> None:
        with storing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(job.id), msgspec.json.encode(job))

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.json"


def _lives(owner: tuple[int, float]) -> bool:
    pid, started = owner
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) < 1)
    except psutil.Error:
        return False
