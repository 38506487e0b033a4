"""Folders and files that appear whole or not at all: made beside their place, synced, then renamed.

A killed process leaves hidden folders, which the next attempt at the same target removes; a model
that was being replaced is put back by whoever looks for it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ollmlx.errors import BadRequest
from ollmlx.store.ollama.blobs import flush, storing

TEMPORARY = ".ollmlx-"
"""How files begin that are not in their place yet; no model's tag begins with a dot."""
_FILLING, _REPLACED = ".converting", ".replaced"


class TargetInTheWay(BadRequest):
    """A model is where the new one is to be."""


class NotReplaced(BadRequest):
    """What is where the model is to be is no model, and so not ours to remove."""


class BeingConverted(BadRequest):
    """Another process is writing the same model."""


@contextmanager
def appearing(target: Path, replace: bool = False) -> Iterator[Path]:
    """An empty folder to fill; it becomes `target` if the block ends well and is removed if not.

    `replace` allows a model in its place, which stays until then.
    Raises `TargetInTheWay`, `NotReplaced`, `BeingConverted`, and `CannotStore` for what the disk
    refuses, in the block too.
    """
    target = target.absolute()
    _check(target, replace)
    filling = _filling(target)
    with storing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = _claim(filling)
        try:
            _recover(target)
            yield filling
            _write_through(filling)
            _check(target, replace)
            _swap(filling, target)
        finally:
            if _is(lock, filling):
                shutil.rmtree(filling)
            os.close(lock)


@contextmanager
def draft(folder: Path, data: bytes) -> Iterator[Path]:
    """A private file that is whole and on the disk; at the end it is gone, unless it was moved."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file for all to read in the place of another.  Raises `OSError`."""
    with draft(path.parent, data) as whole:
        whole.chmod(0o644)
        whole.replace(path)
    flush(path.parent)


def recover(folder: Path) -> None:
    """Put right what was killed among the folders of `folder`: undo swaps, remove what was
    being filled by a process that is gone, or being deleted.  Raises `OSError`.
    """
    for left in folder.glob(".*.deleted"):
        shutil.rmtree(left)
    for kind in (_REPLACED, _FILLING):
        for left in folder.glob(f".*{kind}"):
            _put_right(folder / left.name[1:].removesuffix(kind))


def put_back(left: Path) -> Path | None:
    """The model that a killed process had moved to `left` to replace it, in its place again.

    None for any other path, while its replacing goes on, and where the disk is only read.
    """
    if not (left.name.startswith(".") and left.name.endswith(_REPLACED)):
        return None
    target = left.with_name(left.name[1:].removesuffix(_REPLACED))
    if target.exists():
        return None
    with suppress(OSError):
        _put_right(target)
    return target if target.exists() else None


def _put_right(target: Path) -> None:
    """Undo what a killed process did to `target`; nothing while another one is at it."""
    filling = _filling(target)
    with suppress(BeingConverted):
        lock = _claim(filling)
        try:
            _recover(target)
            shutil.rmtree(filling)
        finally:
            os.close(lock)


def _check(target: Path, replace: bool) -> None:
    if not target.name:
        raise NotReplaced(f"{target} cannot be the folder of a model")
    if not os.path.lexists(target) or _is_empty(target):
        return
    if target.is_symlink() or not (target / "config.json").is_file():
        # Never remove what is not a model: it may be somebody's home.
        raise NotReplaced(f"{target} is not a model, and is not replaced")
    if not replace:
        raise TargetInTheWay(f"{target} exists already")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _claim(filling: Path) -> int:
    """An empty folder of that name, and a lock on it that lasts no longer than this process."""
    filling.mkdir(exist_ok=True)
    lock = os.open(filling, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    with ExitStack() as unless_claimed:
        unless_claimed.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is(lock, filling):
                raise BlockingIOError
        except BlockingIOError as error:
            raise BeingConverted(f"{filling} is being written by another process") from error
        _empty(filling)
        unless_claimed.pop_all()
    return lock


def _is(lock: int, path: Path) -> bool:
    """Whether the open folder still goes by that name."""
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(path))
    except FileNotFoundError:
        return False


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _filling(target: Path) -> Path:
    return target.parent / f".{target.name}{_FILLING}"


def _replaced(target: Path) -> Path:
    return target.parent / f".{target.name}{_REPLACED}"


def _recover(target: Path) -> None:
    """Finish or undo a swap that was killed between its two renames."""
    old = _replaced(target)
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)  # as in `_swap`
    else:
        old.rename(target)


def _swap(filling: Path, target: Path) -> None:
    old = _replaced(target)
    if target.exists():
        target.rename(old)
    filling.rename(target)
    flush(target.parent)
    # Who looks for the model may be removing it too; the next attempt removes what is left.
    shutil.rmtree(old, ignore_errors=True)


def _write_through(folder: Path) -> None:
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)
