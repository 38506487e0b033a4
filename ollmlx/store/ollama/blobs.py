"""Content under its sha256, in the folder that Ollama and our own processes share.

A blob appears whole or not at all: bytes go to a temporary file, are hashed and flushed, and take
their name by one rename.  Layout: `sha256-<64 hex>`, temporary `sha256-<random>`, downloads under
way `sha256-<hex>-partial` with `…-partial-<N>`.  Everything here blocks on the disk.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from ollmlx.errors import BadRequest, OllmlxError

GRACE_SECONDS = 3600.0
"""How long what nobody refers to is left alone: somebody may be about to."""
PARTIAL_SECONDS = 7 * 86400.0
"""How long an interrupted download waits for somebody to go on with it."""
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_BLOCK = 1 << 20


class BadDigest(BadRequest):
    """A text that is no `sha256:<64 hex>`."""

    def __init__(self) -> None:
        super().__init__("invalid digest format")


class DigestMismatch(BadRequest):
    """Content that is not what its sender called it."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f'digest mismatch, expected "{expected}", got "{got}"')


class CannotStore(OllmlxError):
    """The disk is full, or the folder cannot be written."""


class NoRoom(CannotStore):
    """The disk is too small for what is to come."""


@dataclass(frozen=True)
class Blob:
    digest: str
    """`sha256:<64 lower-case hex>`."""
    size: int
    new: bool
    """False when the same content was there already."""


def canonical(digest: str) -> str:
    """`sha256:<64 lower-case hex>` of either spelling, `sha256:` or `sha256-`.

    Raises `BadDigest`.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise BadDigest
    return f"sha256:{match[1].lower()}"


def digest_of(path: Path) -> str:
    """`sha256:<hex>` of a file.  Raises `OSError`."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class Writer:
    """A blob that is being written; made by `Blobs.writing`."""

    def __init__(self, folder: Path, name: Path, file: FileIO) -> None:
        self._folder, self._name, self._file = folder, name, file
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Raises `CannotStore`."""
        with storing(self._folder):
            write_all(self._file.fileno(), data)
        self._hash.update(data)
        self._size += len(data)

    def commit(self) -> Blob:
        """Keep what was written, under its true digest, or nothing.  Raises `CannotStore`."""
        digest = f"sha256:{self._hash.hexdigest()}"
        with storing(self._folder):
            os.fsync(self._file.fileno())
            return _keep(self._name, self._folder, digest, self._size)


class Blobs:
    """The folder `blobs` of a store; it is made when something is first written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the content lies or would lie.  Raises `BadDigest`."""
        return self.folder / canonical(digest).replace(":", "-")

    def has(self, digest: str) -> bool:
        """Raises `BadDigest`."""
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Bytes.  Raises `BadDigest`, or `OSError` when it is not there."""
        return self.path(digest).stat().st_size

    def touch(self, digest: str) -> None:
        """Begin its grace anew: something is about to refer to it.  Raises as `size`."""
        os.utime(self.path(digest))

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A new blob, kept by `Writer.commit` and dropped without it.  Raises `CannotStore`."""
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.folder, prefix="sha256-")
        # Unbuffered, so that nothing is left to be written when a full disk ends it.
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            try:
                yield Writer(self.folder, Path(name), file)
            finally:
                Path(name).unlink(missing_ok=True)

    def add(self, data: bytes) -> Blob:
        """Raises `CannotStore`."""
        with self.writing() as writer:
            writer.write(data)
            return writer.commit()

    def add_file(self, path: Path) -> Blob:
        """Copy a file in.  Raises `CannotStore`, or `OSError` when `path` cannot be read."""
        with path.open("rb") as source, self.writing() as writer:
            while data := source.read(_BLOCK):
                writer.write(data)
            return writer.commit()

    def adopt(self, path: Path, digest: str = "") -> Blob:
        """Move in a file that we made on the same disk; `digest` spares reading it again.

        Raises `CannotStore`.
        """
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("rb+") as file:
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            return _keep(path, self.folder, canonical(digest or digest_of(path)), size)

    def remove(self, digest: str) -> None:
        """Raises `CannotStore`; a blob that is gone already is no error."""
        with storing(self.folder):
            self.path(digest).unlink(missing_ok=True)

    def prune(self, referenced: Collection[str], now: float | None = None) -> list[str]:
        """Remove what no digest of `referenced` names, once its grace is over.

        Returns the names of the removed files.  Raises `CannotStore`.
        """
        moment = time.time() if now is None else now
        removed = []
        with storing(self.folder):
            for path in sorted(self.folder.glob("sha256*")):
                if _outlived(path, referenced, moment):
                    path.unlink(missing_ok=True)
                    removed.append(path.name)
        return removed


def _outlived(path: Path, referenced: Collection[str], now: float) -> bool:
    match = _DIGEST.fullmatch(path.name)
    if match and f"sha256:{match[1].lower()}" in referenced:
        return False
    grace = PARTIAL_SECONDS if "-partial" in path.name else GRACE_SECONDS
    with suppress(FileNotFoundError):  # another process was faster
        return path.is_file() and now - path.stat().st_mtime > grace
    return False


def _keep(source: Path, folder: Path, digest: str, size: int) -> Blob:
    """Give a finished file its name, or drop it when the same content is there."""
    target = folder / digest.replace(":", "-")
    new = not target.is_file() or target.stat().st_size != size
    if new:
        source.chmod(0o644)  # temporary files are private, blobs are Ollama's to read too
        source.replace(target)
        flush(folder)
    else:
        source.unlink()
        os.utime(target)
    return Blob(digest, size, new)


def write_all(descriptor: int, data: bytes | memoryview, at: int | None = None) -> None:
    """All of it, at a place or where the file stands; a disk that fills takes a part first."""
    rest = memoryview(data)
    while rest:
        written = os.write(descriptor, rest) if at is None else os.pwrite(descriptor, rest, at)
        rest = rest[written:]
        at = None if at is None else at + written


def flush(path: Path) -> None:
    """A file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_room(folder: Path, size: int) -> None:
    """Raises `NoRoom` when the disk of a folder, made or not, has no `size` bytes left."""
    free = free_bytes(folder)
    if size > free:
        raise NoRoom(f"not enough space in {folder}: {_human(size)} needed, {_human(free)} free")


def free_bytes(folder: Path) -> int:
    """Of the disk of a folder, made or not."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def _human(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Turn what the disk says into a `CannotStore` that names the folder."""
    try:
        yield
    except OSError as error:
        raise CannotStore(f"cannot write to {folder}: {error.strerror or error}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with this lock file among all processes that take it.

    The system frees the lock of a process that dies.  Raises `CannotStore`.
    """
    with storing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
