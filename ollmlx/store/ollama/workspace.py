"""A folder for files on their way into the store, on its disk.

It lasts no longer than its process: what a killed one leaves, the next one removes.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ollmlx.store.ollama.blobs import locked, storing

FOLDER = ".ollmlx-work"


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """An empty folder below `root`, removed at the end.  Raises `CannotStore`."""
    home = root / FOLDER
    # Alone, or another process could take a folder for left that is not locked yet.
    with locked(home / ".lock"), storing(home):
        for left in home.iterdir():
            _remove_if_left(left)
        folder = Path(tempfile.mkdtemp(dir=home))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_if_left(folder: Path) -> None:
    """Remove a folder whose process is gone: nobody holds its lock."""
    with suppress(FileNotFoundError, NotADirectoryError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            return
        finally:
            os.close(lock)
