"""What users delete from the Hugging Face cache: just what they name, since other programs use the
cache too.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from ollmlx.errors import BadRequest
from ollmlx.store.ollama.blobs import storing
from ollmlx.store.places.repositories import ggufs
from ollmlx.store.transfer import quantizations


class NotInCache(BadRequest):
    """A model that lies elsewhere."""


def remove(path: Path) -> None:
    """Remove a model: a GGUF with all its parts, or the revision of a repository that a folder is.

    Files that another revision has too stay for it.  Raises `NotInCache` or `CannotStore`.
    """
    snapshot = next((p for p in (path, *path.parents) if p.parent.name == "snapshots"), None)
    if snapshot is None or not snapshot.parent.parent.name.startswith("models--"):
        raise NotInCache(f"{path} is not in ollmlx's store: remove it where it lies")
    with storing(snapshot):
        if path != snapshot:
            _remove_parts(snapshot, str(path.relative_to(snapshot)))
        if path == snapshot or not ggufs(snapshot):
            _remove_revision(snapshot)


def _remove_parts(snapshot: Path, first: str) -> None:
    # The first one goes first: without it there is no model.
    links = [snapshot / part for part in quantizations.parts(ggufs(snapshot), first)]
    contents = _contents(links)
    for link in links:
        link.unlink()
    _remove_unused(snapshot.parent.parent, contents)


def _remove_revision(snapshot: Path) -> None:
    """Under a name that nobody asks for before its files go: no reader finds half a model."""
    repository = snapshot.parent.parent
    contents = _contents(snapshot.rglob("*"))
    gone = snapshot.with_name(f".{snapshot.name}.deleted")
    shutil.rmtree(gone, ignore_errors=True)
    snapshot.rename(gone)
    for reference in (repository / "refs").rglob("*"):
        if reference.is_file() and reference.read_text().strip() == snapshot.name:
            reference.unlink()
    shutil.rmtree(gone)
    if any(snapshot.parent.iterdir()):
        _remove_unused(repository, contents)
    else:
        shutil.rmtree(repository)


def _contents(links: Iterable[Path]) -> set[Path]:
    return {link.resolve() for link in links if link.is_symlink()}


def _remove_unused(repository: Path, contents: set[Path]) -> None:
    """Blobs of the repository that no revision links to any more."""
    used = _contents((repository / "snapshots").rglob("*"))
    for content in contents - used:
        if content.is_relative_to(repository.resolve()):
            content.unlink(missing_ok=True)
