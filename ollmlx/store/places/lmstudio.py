"""Models that lie in LM Studio's folder, used in place; nothing is ever changed there.

Layout: `<publisher>/<repository>/<files>`, as on the hub that they were downloaded from.
Source: https://lmstudio.ai/docs/app/advanced/import-model, and its own SDK for where it is.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ollmlx import names
from ollmlx.names import Name
from ollmlx.store.model import Model
from ollmlx.store.places.repositories import HOSTS, Repositories
from ollmlx.store.weights import Weights

SOURCE = "lmstudio"
_MOST_BYTES = 1 << 20


def models_folder(user: Path | None = None) -> Path:
    """Where the LM Studio of whose home this is keeps models, whether or not there is one."""
    home = user or Path(os.path.expanduser("~"))  # not Path.home, which raises for nobody's
    pointer, old = home / ".lmstudio-home-pointer", home / ".cache" / "lm-studio"
    named = _text(pointer).strip()
    root = Path(named) if named else old if old.is_dir() else home / ".lmstudio"
    try:
        chosen = json.loads(_text(root / "settings.json") or "{}")["downloadsFolder"]
    except (ValueError, LookupError, TypeError):
        chosen = None  # the user chose none, or a later version keeps it elsewhere
    return Path(chosen) if isinstance(chosen, str) and chosen else root / "models"


def _text(path: Path) -> str:
    """Empty for a file that is not there, and for one that is none of LM Studio's."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_BYTES)
    except (OSError, ValueError):
        return ""


class LmStudio:
    """The folder at `root`, which need not exist."""

    def __init__(self, root: Path, weights: Weights) -> None:
        self._root = root
        self._contents = Repositories(SOURCE, weights)

    def find(self, name: Name) -> Model | None:
        """`publisher/repository`, `hf.co/publisher/repository:Q4_K_M`; None when not there.

        Raises `NotAModel`, `BadDocument` or `BadGguf` for a folder that is not a whole model.
        """
        if name.host.lower() not in HOSTS:
            return None
        wanted = (name.namespace.lower(), name.model.lower())
        folder = next((p for p in self._folders() if _repository(p) == wanted), None)
        if folder is None:
            return None
        name = replace(name, namespace=folder.parent.name, model=folder.name)
        if name.tag.lower() == names.TAG:
            return self._contents.whole(folder, name)
        return self._contents.quantized(folder, name)

    def entries(self) -> Iterator[tuple[Name, Path]]:
        """Every model whose name can be spelled, with its folder."""
        for folder in self._folders():
            for name in self._contents.names(folder, f"{folder.parent.name}/{folder.name}"):
                yield name, folder

    def read(self, name: Name, folder: Path) -> Model | None:
        """None for what cannot chat.  Raises as `find`."""
        return self._contents.listed(folder, name)

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._root.glob("[!.]*/[!.]*") if path.is_dir())


def _repository(folder: Path) -> tuple[str, str]:
    return folder.parent.name.lower(), folder.name.lower()
