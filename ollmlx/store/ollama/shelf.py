"""Models of Ollama's store put in and taken out: manifests by name, and the blobs they need.

A manifest is written only while every blob of it is there, and a blob is removed only while no
manifest names it; both happen under one lock, which all our processes on the folder share.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ollmlx.errors import LoadFailed, OllmlxError
from ollmlx.names import Name
from ollmlx.store.appearing import TEMPORARY, write_whole
from ollmlx.store.documents import BadDocument, decode, read_bytes
from ollmlx.store.ollama.blobs import GRACE_SECONDS, Blobs, locked, storing
from ollmlx.store.ollama.layers import Manifest
from ollmlx.store.ollama.manifests import MOST_MANIFEST_BYTES, BadManifest, blob
from ollmlx.store.places import folders


class LayerGone(OllmlxError):
    """A blob that a new manifest needs was removed before it could be written."""


class Shelf:
    """The folder that OLLAMA_MODELS names; it need not exist."""

    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(root / "blobs")
        self._manifests = root / "manifests"
        self._lock = root / ".ollmlx.lock"

    def spelling(self, name: Name) -> Name:
        """The name of the installed model that differs at most in letter case, else as given."""
        entry = folders.matching(self._manifests, name)
        return entry[0] if entry else name

    def path(self, name: Name) -> Path:
        """Where the manifest of exactly this name lies or would lie."""
        return self._manifests / name.path

    def read(self, name: Name) -> tuple[Manifest, bytes] | None:
        """The manifest and its bytes, or None.  Raises `BadManifest`."""
        path = self.path(name)
        try:
            data = read_bytes(path, MOST_MANIFEST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except BadDocument as error:
            raise BadManifest(str(error)) from error
        except OSError as error:
            raise BadManifest(f"open {path}: {error.strerror}") from error
        return parse(data, path), data

    def write(self, name: Name, manifest: Manifest, data: bytes | None = None) -> None:
        """Install a model, in place of what had the name; `data` are the bytes a registry sent.

        Raises `LayerGone` or `CannotStore`.
        """
        path = self.path(name)
        with self._changing():
            for layer in manifest.blobs:
                if not self.blobs.has(layer.digest):
                    raise LayerGone(f"{layer.digest} was removed while {name.display} was made")
            with storing(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, manifest.encode() if data is None else data)

    def delete(self, name: Name) -> Manifest | None:
        """Take a model off the shelf, and the folders that are empty then; its blobs stay.

        Raises `CannotStore`.  None when there was none, or one that no longer says what it needs.
        """
        path = self.path(name)
        with self._changing(), storing(path.parent):
            try:
                manifest = parse(read_bytes(path, MOST_MANIFEST_BYTES), path)
            except FileNotFoundError:
                return None
            except (BadManifest, BadDocument):
                manifest = None
            path.unlink()
            folders.remove_empty(path.parent, self._manifests)
        return manifest

    def unused(self, manifest: Manifest) -> list[str]:
        """Digests that this manifest, no longer installed, named and no other one names.

        Raises `BadManifest` while one is damaged: it may need them.
        """
        kept = self._referenced()
        return [layer.digest for layer in manifest.blobs if layer.digest not in kept]

    def remove_unused(self, manifest: Manifest) -> list[str]:
        """Remove the blobs that are `unused`, and return their digests.

        Raises `BadManifest` or `CannotStore`.
        """
        with self._changing():
            for digest in (unused := self.unused(manifest)):
                self.blobs.remove(digest)
        return unused

    def prune(self, now: float | None = None) -> list[str]:
        """Remove what no manifest names and nobody is working on, and empty folders.

        Returns the names of removed files.  Raises as `remove_unused`.
        """
        with self._changing():
            removed = self.blobs.prune(self._referenced(), now)
            with storing(self._manifests):
                _remove_old_temporaries(self._manifests, time.time() if now is None else now)
                for folder in sorted(self._manifests.glob("*/*/*"), reverse=True):
                    folders.remove_empty(folder, self._manifests)
        return removed

    def rename_old_blobs(self) -> None:
        """Blobs of old Ollamas are named `sha256:<hex>`.  Raises `CannotStore`."""
        with storing(self.blobs.folder):
            for path in self.blobs.folder.glob("sha256:*"):
                path.rename(path.with_name(path.name.replace(":", "-", 1)))

    def _referenced(self) -> set[str]:
        digests: set[str] = set()
        for name, path in folders.named(self._manifests):
            try:
                manifest = parse(read_bytes(path, MOST_MANIFEST_BYTES), path)
            except (OSError, LoadFailed) as error:
                raise BadManifest(f"the manifest of {name.display} is damaged: {error}") from error
            digests.update(layer.digest for layer in manifest.blobs)
        return digests

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locked(self._lock):
            yield


def parse(data: bytes, where: Path) -> Manifest:
    """A manifest whose digests are digests.  Raises `BadManifest`."""
    try:
        manifest = decode(data, where, Manifest)
    except BadDocument as error:
        raise BadManifest(str(error)) from error
    for layer in (*(manifest.layers or ()), manifest.config):
        blob(where, layer.digest)
        if layer.size < 0:
            raise BadManifest(f"{where}: a layer of {layer.size} bytes")
    return manifest


def _remove_old_temporaries(top: Path, now: float) -> None:
    """What a process left that died while it wrote."""
    for path in top.glob(f"*/*/*/{TEMPORARY}*"):
        if now - path.stat().st_mtime > GRACE_SECONDS:
            path.unlink(missing_ok=True)
