"""What was read out of a file, kept until the file changes."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class _Kept(Generic[T]):
    value: T
    beside: Sequence[Path]
    stamps: list[_Stamp | None]
    """Of the file itself, then of those beside it."""


class PerFile(Generic[T]):
    """Calls `read` for a file that is new or has changed, from any thread."""

    def __init__(
        self,
        read: Callable[..., T],
        most: int = 1024,
        beside: Callable[[T], Sequence[Path] | None] = lambda _value: (),
    ) -> None:
        """`beside` tells the other files of a value; None for one that is too large to keep."""
        self._read, self._most, self._beside = read, most, beside
        self._kept: dict[Hashable, _Kept[T]] = {}
        self._lock = Lock()

    def __call__(self, path: Path, *about: Hashable) -> T:
        """What `read(path, *about)` gives or raises; `OSError` when the file is gone."""
        began = _stamp(path)
        with self._lock:
            kept = self._kept.get((path, *about))
        if kept and kept.stamps == [began, *map(_known, kept.beside)]:
            return kept.value
        value = self._read(path, *about)
        if (beside := self._beside(value)) is not None:
            stamps = [began, *map(_known, beside)]
            with self._lock:
                if len(self._kept) >= self._most:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[path, *about] = _Kept(value, beside, stamps)
        return value


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _known(path: Path) -> _Stamp | None:
    """None where it is not there."""
    try:
        return _stamp(path)
    except OSError:
        return None
