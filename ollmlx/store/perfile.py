"""What was read out of a file, kept until the file changes."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")
_Stamp = tuple[int, int]


class PerFile(Generic[T]):
    """Calls `read` for a file whose size or time of change is new, from any thread."""

    def __init__(self, read: Callable[[Path], T], most: int = 1024) -> None:
        self._read = read
        self._most = most
        self._kept: dict[Path, tuple[_Stamp, T]] = {}
        self._lock = Lock()

    def __call__(self, path: Path) -> T:
        """What `read(path)` gives or raises; `OSError` when the file is gone."""
        stat = path.stat()
        stamp = (stat.st_size, stat.st_mtime_ns)
        with self._lock:
            kept = self._kept.get(path)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        value = self._read(path)
        with self._lock:
            if len(self._kept) >= self._most:
                self._kept.pop(next(iter(self._kept)))
            self._kept[path] = (stamp, value)
        return value
