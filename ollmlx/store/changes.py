"""Models copied, installed and deleted, wherever they lie.

A model disappears before its files do, and appears after them: whatever is killed in between
leaves files that belong to no model, never a model without files.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ollmlx import names
from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.names import Name
from ollmlx.store import words
from ollmlx.store.appearing import appearing, recover
from ollmlx.store.model import Model
from ollmlx.store.ollama import named
from ollmlx.store.ollama.blobs import storing
from ollmlx.store.ollama.config import Config
from ollmlx.store.ollama.layers import Manifest
from ollmlx.store.ollama.making import Making
from ollmlx.store.ollama.manifests import BadManifest
from ollmlx.store.ollama.shelf import Shelf
from ollmlx.store.places import cached, embedded, folders
from ollmlx.store.weights import readers

_log = logging.getLogger(__name__)
_KEPT = (".safetensors", ".json", ".jinja", ".model", ".txt", ".tiktoken")
"""What a folder of MLX weights needs, of all that may lie in it."""


class CannotDelete(BadRequest):
    """A model that is not ours to delete."""


class MissingBlob(OllmlxError):
    """A file that was not uploaded; worded as Ollama words it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"open {path}: no such file or directory")


class Changes:
    """The folder that OLLAMA_MODELS names; it need not exist.  Everything here blocks."""

    def __init__(self, root: Path, prune: bool = True) -> None:
        self.root = root
        self.shelf = Shelf(root)
        self.converted = root / "mlx"
        self._prune = prune

    def spelling(self, name: Name) -> Name:
        """As an installed model spells it, whatever the letter case, else as given."""
        found = self.shelf.spelling(name)
        # Not Path.exists, which raises for a name that is too long for the disk.
        if found != name or os.path.exists(self.shelf.path(name)):
            return found
        entry = folders.matching(self.converted, name)
        return entry[0] if entry else name

    def folder(self, name: Name) -> Path:
        """Where MLX weights of that name lie or would lie."""
        return self.converted / name.path

    def install(self, name: Name, manifest: Manifest, data: bytes | None = None) -> None:
        """Put a model into Ollama's store, in place of whatever had the name.

        Raises `LayerGone` or `CannotStore`.
        """
        try:
            old = self.shelf.read(name)
        except BadManifest:
            old = None  # what a damaged manifest needed cannot be told
        self.shelf.write(name, manifest, data)
        if old and self._prune:
            self._remove_unused(old[0], name)
        self.remove_folder(name)

    def copy(self, model: Model, name: Name) -> None:
        """Give a model a second name.  Raises `BadRequest`, `BadManifest` or `CannotStore`."""
        if model.format == "mlx":
            with appearing(self.folder(name), replace=True) as folder:
                link_weights(Path(model.path), folder)
                self._copy_words(model, folder)
            self.remove_manifest(name)
            return
        manifest, data = self._manifest(model)
        self.install(name, manifest, data)

    def base(self, model: Model, config: Config) -> Making:
        """A model in the making that has all of this GGUF model; imported when it lies elsewhere.

        Raises `BadRequest`, `BadManifest`, `CannotStore` or `OSError`.
        """
        making = Making(self.shelf, config)
        name = _name(model)
        if model.source == "ollama" and (found := self.shelf.read(self.spelling(name))):
            making.inherit(found[0], name)
            return making
        weights = readers()
        if weights.gguf(Path(model.path)).shards > 1:
            raise BadRequest(f"{model.name} is in several files, which create joins")
        for kind, path in (("model", model.path), *(("projector", p) for p in model.projectors)):
            blob = self.shelf.blobs.add_file(Path(path))
            making.add_file(kind, blob.digest, model.name)
        if template := named.meant(model.chat_template):
            # What a create from the file itself would have given it.
            stops = words.encoded_parameters({"stop": list(template.stops)})
            for kind, data in (("template", template.template), ("params", stops)):
                making.add_file(kind, self.shelf.blobs.add(data).digest, model.name)
        return making

    def delete(self, name: Name, model: Model | None) -> bool:
        """Whether there was one.  `model` is what the library has under the name.

        Raises `CannotDelete`, `NotInCache` or `CannotStore`.
        """
        found = self.spelling(name)
        if os.path.exists(self.shelf.path(found)):
            self.remove_manifest(found)
            return True
        if os.path.exists(self.folder(found)):
            self.remove_folder(found)
            return True
        if model is None or model.source in ("ollama", "ollmlx"):
            return False  # another server on this folder was faster
        if model.source == "embedded":
            raise CannotDelete(
                f"{model.name} is part of the package {embedded.PACKAGE}: "
                "uninstall that, or set OLLMLX_EMBEDDED=0"
            )
        cached.remove(Path(model.path))
        return True

    def tidy(self) -> None:
        """Put right what killed changes left, and remove what no model needs any more.

        Raises `BadManifest` when a damaged manifest keeps it from knowing that, or `CannotStore`.
        """
        with storing(self.converted):
            for folder in {path.parent for path in self.converted.glob("*/*/*/.*")}:
                recover(folder)
        if self._prune and self.shelf.blobs.folder.is_dir():
            self.shelf.rename_old_blobs()
            self.shelf.prune()

    def remove_manifest(self, name: Name) -> None:
        manifest = self.shelf.delete(name)
        if manifest:
            self._remove_unused(manifest, name)

    def remove_folder(self, name: Name) -> None:
        folder = self.folder(name)
        if not os.path.exists(folder):
            return
        with storing(folder):
            gone = folder.with_name(f".{folder.name}.deleted")
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
            shutil.rmtree(gone)
            folders.remove_empty(folder.parent, self.converted)

    def _manifest(self, model: Model) -> tuple[Manifest, bytes | None]:
        found = None
        if model.source == "ollama":
            found = self.shelf.read(self.spelling(_name(model)))
        if found:
            return found
        making = self.base(model, Config())
        making.describe(readers())
        return making.manifest(), None

    def _remove_unused(self, manifest: Manifest, name: Name) -> None:
        try:
            self.shelf.remove_unused(manifest)
        except BadManifest as error:
            # As long as it is damaged nobody knows which blobs it needs, so all of them stay.
            _log.warning("the files of %s stay: %s", name.display, error)

    def _copy_words(self, model: Model, folder: Path) -> None:
        spoken = words.in_folder(Path(model.path))
        if spoken != words.Words():
            spoken.write(folder)


def _name(model: Model) -> Name:
    return names.parse(model.full_name)


def link_weights(source: Path, folder: Path, without: str = "") -> None:
    """The files of a folder of weights in another one: linked, or copied to another disk.

    `without` is a folder in the folder.  Raises `CannotStore`.
    """
    for path in weight_files(source):
        relative = path.relative_to(source)
        if relative.parts[0] != without:
            link(path, folder / relative)


def link(path: Path, target: Path) -> None:
    """The same content under a second name, which outlives the first.  Raises `CannotStore`."""
    with storing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        real = path.resolve()
        try:
            os.link(real, target)
        except FileExistsError:
            raise  # writing to it would change whatever else it is linked to
        except OSError:  # another disk, or one without links
            shutil.copyfile(real, target)


def link_others(source: Path, folder: Path) -> None:
    """What stays where weights and configuration are written anew.  Raises `CannotStore`."""
    for path in weight_files(source):
        anew = path.name == "config.json" or path.name.endswith(".safetensors.index.json")
        if path.suffix != ".safetensors" and not anew:
            link(path, folder / path.relative_to(source))


def lay_out(store: Changes, files: Mapping[str, str], folder: Path) -> None:
    """Blobs in a folder, by the names of the files they were uploaded from.

    Raises `MissingBlob`, `BadDigest` or `CannotStore`.
    """
    for name, digest in files.items():
        path = store.shelf.blobs.path(digest)
        if not path.is_file():
            raise MissingBlob(path)
        link(path, folder / name)


def weight_files(folder: Path) -> Iterator[Path]:
    """What a folder needs to be a model, words about it left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in _KEPT and path.is_file() and not hidden and path.name != words.FILE:
            yield path


def weight_bytes(path: Path) -> int:
    """Of a GGUF file, or of the weights in a folder."""
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
