"""Models that lie in the local Hugging Face cache, found by name; nothing is ever fetched here.

Layout: `models--<org>--<repo>/refs/<revision>` names a commit, `snapshots/<commit>/` has its files.
Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ollmlx import names
from ollmlx.names import Name
from ollmlx.store.model import Model
from ollmlx.store.places.repositories import HOSTS, Repositories
from ollmlx.store.weights import Weights


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where huggingface_hub keeps repositories, by its own variables."""
    caches = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = environment.get("HF_HOME") or f"{caches}/huggingface"
    old = environment.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expanduser(environment.get("HF_HUB_CACHE") or old or f"{home}/hub"))


class Snapshots:
    """The cache at `root`, which need not exist."""

    def __init__(self, root: Path, weights: Weights) -> None:
        self._root = root
        self._contents = Repositories("huggingface", weights)

    def find(self, name: Name) -> Model | None:
        """`mlx-community/X`, `org/repo:revision`, `hf.co/org/repo:Q4_K_M`; None when not there.

        Raises `NotAModel`, `BadDocument` or `BadGguf` for a repository that is not a whole model.
        """
        if name.host.lower() not in HOSTS:
            return None
        wanted = f"models--{name.namespace}--{name.model}".lower()
        repository = next((p for p in self._repositories() if p.name.lower() == wanted), None)
        if repository is None:
            return None
        _, namespace, model = repository.name.split("--", 2)
        name = replace(name, namespace=namespace, model=model)
        pinned = _snapshot(repository, name.tag)
        if pinned is not None:
            return self._contents.whole(pinned, name)
        folder = _snapshot(repository, names.TAG)
        return self._contents.quantized(folder, name) if folder else None

    def entries(self) -> Iterator[tuple[Name, Path]]:
        """Every model whose name can be spelled, with the files of its repository's main branch.

        A repository of safetensors is one model, one of GGUFs a model for each quantisation.
        """
        for repository in self._repositories():
            _, organisation, model = repository.name.split("--", 2)
            folder = _snapshot(repository, names.TAG)
            if folder is None:
                continue
            for name in self._contents.names(folder, f"{organisation}/{model}"):
                yield name, folder

    def read(self, name: Name, folder: Path) -> Model | None:
        """None for what cannot chat.  Raises as `find`."""
        return self._contents.listed(folder, name)

    def _repositories(self) -> list[Path]:
        return sorted(p for p in self._root.glob("models--*--*") if p.is_dir())


def _snapshot(repository: Path, revision: str) -> Path | None:
    """The files of a branch or commit; of `main` for the tag `latest`."""
    reference = repository / "refs" / ("main" if revision == names.TAG else revision)
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = repository / "snapshots" / Path(commit).name
    return folder if folder.is_dir() and Path(commit).name == commit else None
