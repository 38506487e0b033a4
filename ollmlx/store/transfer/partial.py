"""A file while it is downloaded: ranges that are there, in a journal that outlives the process.

The layout is Ollama's, so that either can go on with what the other began: `<file>-partial` has the
bytes at their places, `<file>-partial-<N>` says of one range how far it is.
"""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from ollmlx.store.ollama.blobs import check_room, flush, storing, write_all

SMALLEST, LARGEST, MOST_PARTS = 16_000_000, 256_000_000, 64
"""Bytes of a part, and how many there are while they fit between."""
JOURNAL_BYTES = 1 << 20
"""What a killed process may have to fetch again of each part it was at."""
# Where others may write into the folder, a link of theirs must not lead to a file of ours.
_FLAGS = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class _Record(msgspec.Struct, rename="pascal"):
    """One journal file, with Ollama's keys."""

    n: int
    offset: int
    size: int
    completed: int


@dataclass
class Part:
    """`size` bytes from `offset`, the first `completed` of which are on disk."""

    number: int
    offset: int
    size: int
    completed: int = 0
    journalled: int = 0

    @property
    def done(self) -> bool:
        return self.completed >= self.size


class Partial:
    """The partial file of `target`, which will have `total` bytes.

    Only one process at a time has it open.
    """

    def __init__(self, target: Path, total: int) -> None:
        self.target, self.total = target, total
        self.path = target.with_name(f"{target.name}-partial")
        self.parts: list[Part] = []
        self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def try_open(self) -> bool:
        """Whether this is now the only process at this file; then `parts` say how far it is.

        Raises `CannotStore` or `NoRoom`.
        """
        with storing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | _FLAGS, 0o644)
            if not _lock(descriptor, self.path):
                os.close(descriptor)
                return False
            self.descriptor = descriptor
            if not self.finished:
                self._resume()
        return True

    @property
    def finished(self) -> bool:
        """Whether the target is there."""
        return is_whole(self.target, self.total)

    def begin_again(self, whole: bool = False) -> None:
        """Forget what is there; `whole` for servers that do not know ranges.

        Raises `CannotStore`.
        """
        with storing(self.path.parent):
            self._remove_journal()
            os.ftruncate(self.descriptor, 0)
            os.ftruncate(self.descriptor, self.total)
            self.parts = plan(self.total, 1 if whole else MOST_PARTS)

    def write(self, part: Part, data: bytes) -> None:
        """Put what follows in its place.  Raises `CannotStore`."""
        with storing(self.path.parent):
            write_all(self.descriptor, data, part.offset + part.completed)
            part.completed += len(data)
            if part.done or part.completed - part.journalled >= JOURNAL_BYTES:
                self.note(part)

    def note(self, part: Part) -> None:
        """Write down how far a part is.  Raises `CannotStore`."""
        record = _Record(part.number, part.offset, part.size, part.completed)
        with storing(self.path.parent):
            # One write of a text that only ever gets longer: whole also when the process is killed.
            descriptor = os.open(self._journal(part.number), os.O_WRONLY | _FLAGS, 0o644)
            try:
                write_all(descriptor, msgspec.json.encode(record), 0)
            finally:
                os.close(descriptor)
        part.journalled = part.completed

    def restart(self, part: Part) -> None:
        """Forget what is there of one part.  Raises `CannotStore`."""
        with storing(self.path.parent):
            self._journal(part.number).unlink(missing_ok=True)
        part.completed = part.journalled = 0

    def finish(self) -> None:
        """Give the file its name; its content is known to be right.  Raises `CannotStore`."""
        with storing(self.path.parent):
            os.fsync(self.descriptor)
            os.replace(self.path, self.target)
            flush(self.path.parent)
            self._remove_journal()

    def discard(self) -> None:
        """Remove all that was fetched.  Raises `CannotStore`."""
        with storing(self.path.parent):
            self._remove_journal()
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def completed_elsewhere(self) -> int:
        """Bytes that another process has by now, by its journal."""
        return sum(part.completed for part in self._read_journal())

    def _resume(self) -> None:
        parts = self._read_journal()
        known = os.fstat(self.descriptor).st_size == self.total and _tile(parts, self.total)
        there = sum(part.completed for part in parts) if known else 0
        check_room(self.path.parent, self.total - there)
        if known:
            self.parts = parts
        else:
            self.begin_again()

    def _read_journal(self) -> list[Part]:
        parts = []
        for path in self._journals():
            try:
                record = msgspec.json.decode(path.read_bytes(), type=_Record)
            except (OSError, msgspec.DecodeError):
                continue  # the parts will not tile the file then
            done = record.completed
            parts.append(Part(record.n, record.offset, record.size, done, done))
        return sorted(parts, key=lambda part: part.offset)

    def _journal(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}-{number}")

    def _journals(self) -> list[Path]:
        return list(self.path.parent.glob(f"{self.path.name}-*"))

    def _remove_journal(self) -> None:
        for path in self._journals():
            path.unlink(missing_ok=True)


def is_whole(target: Path, total: int) -> bool:
    """Whether a file is there with all its bytes; it only ever appears with right ones.

    Raises `CannotStore` when its folder is none.
    """
    with storing(target.parent), suppress(FileNotFoundError):
        return target.stat().st_size == total
    return False


def missing_bytes(target: Path, total: int) -> int:
    """What a download of `target` still has to fetch."""
    partial = Partial(target, total)
    return 0 if partial.finished else total - partial.completed_elsewhere()


def plan(total: int, most: int = MOST_PARTS) -> list[Part]:
    """The parts of a new download, in order and without gaps."""
    size = total if most == 1 else min(max(-(-total // most), SMALLEST), LARGEST)
    starts = range(0, total, max(size, 1))
    return [Part(n, start, min(size, total - start)) for n, start in enumerate(starts)]


def _tile(parts: list[Part], total: int) -> bool:
    """Whether the parts are exactly the file."""
    at = 0
    for part in parts:
        if part.offset != at or part.size <= 0 or not 0 <= part.completed <= part.size:
            return False
        at += part.size
    return at == total and len({part.number for part in parts}) == len(parts)


def _lock(descriptor: int, path: Path) -> bool:
    """Lock the open file unless another process has, or it no longer is the one at `path`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
