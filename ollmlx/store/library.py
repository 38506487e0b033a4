"""Every model on this machine, under the name users call it.

Paths come first, then Ollama's store, the models ollmlx converted, the embedded model, the Hugging
Face cache and LM Studio's folder.  Everything here blocks on the disk: call it in a thread.  Any
thread may.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ollmlx import names
from ollmlx.errors import LoadFailed, NotFound, OllmlxError
from ollmlx.names import Name
from ollmlx.settings import Settings
from ollmlx.store import capabilities
from ollmlx.store.model import Model
from ollmlx.store.ollama.manifests import NotHere, OllamaStore
from ollmlx.store.places import embedded, folders, lmstudio, shortnames, snapshots
from ollmlx.store.places.lmstudio import LmStudio
from ollmlx.store.places.snapshots import Snapshots
from ollmlx.store.weights import mlx_model, readers

_log = logging.getLogger(__name__)
_Read = Callable[[], Model | None]


class Library:
    """`hub` is the Hugging Face cache, `studio` LM Studio's folder; the user's own without them."""

    def __init__(
        self, settings: Settings, hub: Path | None = None, studio: Path | None = None
    ) -> None:
        root = settings.models
        self._weights = readers()
        self._converted = root / "mlx"
        self._embedded = settings.embedded
        self._ollama = OllamaStore(root, self._weights)
        self._snapshots = Snapshots(hub or snapshots.cache_folder(), self._weights)
        self._studio = LmStudio(studio or lmstudio.models_folder(), self._weights)
        self._warned: set[str] = set()

    def find(self, name: str) -> Model:
        """The model that `name` means, whatever its letter case.

        Raises `InvalidName`; `NotFound`; `NotAModel` or a `LoadFailed` that says what is wrong with
        the files of a model that is there.
        """
        try:
            model = self._find(names.installed(name))
        except OSError as error:
            raise LoadFailed(f"cannot read {name}: {error}") from error
        if model is None:
            raise NotFound(f"model '{name}' not found")
        return model

    def list(self) -> list[Model]:
        """Installed models that can be read, newest first; a name that is twice as `find` has it.

        Models that only a path names are not among them.
        """
        found: dict[str, Model] = {}
        for label, read in self._readers():
            model = self._readable(label, read)
            if model is not None:
                found.setdefault(model.full_name.lower(), _as_listed(model))
        return sorted(found.values(), key=lambda m: (-int(m.modified_at.timestamp()), m.name))

    def mlx_path(self, name: Name) -> Path:
        """The folder where a converted model of that name belongs; it need not exist."""
        return self._converted / name.path

    def _find(self, text: str) -> Model | None:
        path = names.as_path(text)
        if path is not None:
            return folders.at_path(path, self._weights) if folders.may_be_a_model(path) else None
        name = names.parse(text)
        return (
            self._ollama.find(name)
            or self._find_converted(name)
            or self._find_embedded(name)
            or self._snapshots.find(shortnames.meant(name))
            or self._studio.find(shortnames.meant(name))
        )

    def _find_converted(self, name: Name) -> Model | None:
        entry = folders.matching(self._converted, name)
        return self._read_converted(*entry) if entry else None

    def _read_converted(self, name: Name, folder: Path) -> Model:
        return mlx_model(folder, name.display, "ollmlx", self._weights, full_name=name.full)

    def _find_embedded(self, name: Name) -> Model | None:
        if not (self._embedded and embedded.NAME.matches(name)):
            return None
        return embedded.model(self._weights)

    def _readers(self) -> Iterator[tuple[str, _Read]]:
        """Every installed model's label and how to read it, in the order names are looked up."""
        for name, path in self._ollama.entries():
            yield name.display, partial(self._ollama.read, name, path)
        for name, path in folders.named(self._converted):
            yield name.display, partial(self._read_converted, name, path)
        if self._embedded:
            yield embedded.NAME.display, partial(embedded.model, self._weights)
        for name, path in self._snapshots.entries():
            yield name.display, partial(self._snapshots.read, name, path)
        for name, path in self._studio.entries():
            yield name.display, partial(self._studio.read, name, path)

    def _readable(self, label: str, read: _Read) -> Model | None:
        """None, and one line in the log the first time, for a model that cannot be used."""
        try:
            return read()
        except (OllmlxError, OSError) as error:
            text = f"{label} is not listed: {error}"
            if text not in self._warned:
                self._warned.add(text)
                _log.log(logging.INFO if isinstance(error, NotHere) else logging.WARNING, text)
            return None


def _as_listed(model: Model) -> Model:
    if model.format == "remote":
        return model
    listed = capabilities.as_listed(model.capabilities, bool(model.projectors))
    return replace(model, capabilities=listed)
