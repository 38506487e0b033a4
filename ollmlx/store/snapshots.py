"""Models that lie in the local Hugging Face cache, found by name; nothing is ever fetched here.

Layout: `models--<org>--<repo>/refs/<revision>` names a commit, `snapshots/<commit>/` has its files.
Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ollmlx import names
from ollmlx.errors import InvalidName
from ollmlx.names import Name
from ollmlx.store import quantizations
from ollmlx.store.folders import in_folder
from ollmlx.store.model import Model
from ollmlx.store.quantizations import first_files
from ollmlx.store.weights import Weights, gguf_model, with_projectors

_HOSTS = (names.HOST, "hf.co", "huggingface.co")


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where huggingface_hub keeps repositories, by its own variables."""
    caches = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = environment.get("HF_HOME") or f"{caches}/huggingface"
    old = environment.get("HUGGINGFACE_HUB_CACHE")
    return Path(environment.get("HF_HUB_CACHE") or old or f"{home}/hub").expanduser()


class Snapshots:
    """The cache at `root`, which need not exist."""

    def __init__(self, root: Path, weights: Weights) -> None:
        self._root = root
        self._weights = weights

    def find(self, name: Name) -> Model | None:
        """`mlx-community/X`, `org/repo:revision`, `hf.co/org/repo:Q4_K_M`; None when not there.

        Raises `NotAModel`, `BadDocument` or `BadGguf` for a repository that is not a whole model.
        """
        if name.host.lower() not in _HOSTS:
            return None
        wanted = f"models--{name.namespace}--{name.model}".lower()
        repository = next((p for p in self._repositories() if p.name.lower() == wanted), None)
        if repository is None:
            return None
        _, namespace, model = repository.name.split("--", 2)
        name = replace(name, namespace=namespace, model=model)
        pinned = _snapshot(repository, name.tag)
        if pinned is not None:
            return self._whole(pinned, name)
        folder = _snapshot(repository, names.TAG)
        return self._quantized(folder, name) if folder else None

    def entries(self) -> Iterator[tuple[Name, Path]]:
        """Every model whose name can be spelled, with the files of its repository's main branch.

        A repository of safetensors is one model, one of GGUFs a model for each quantisation.
        """
        for repository in self._repositories():
            _, organisation, model = repository.name.split("--", 2)
            folder = _snapshot(repository, names.TAG)
            if folder is None:
                continue
            stem = f"{organisation}/{model}"
            whole = any(folder.glob("*.safetensors"))
            tags = [] if whole else map(quantizations.quantization, first_files(_ggufs(folder)))
            for text in [stem] if whole else [f"hf.co/{stem}:{tag}" for tag in tags if tag]:
                with suppress(InvalidName):  # a repository that no model name can spell
                    yield names.parse(text), folder

    def read(self, name: Name, folder: Path) -> Model | None:
        """None for what cannot chat: a cache also holds much that no engine here runs.

        Raises as `find`.
        """
        if any(folder.glob("*.safetensors")):
            model = self._whole(folder, name)
            return model if model.chat_template else None
        return self._quantized(folder, name)

    def _whole(self, folder: Path, name: Name) -> Model:
        if not any(folder.glob("*.safetensors")) and (model := self._quantized(folder, name)):
            return model
        return in_folder(folder, name.display, "huggingface", self._weights, full_name=name.full)

    def _quantized(self, folder: Path, name: Name) -> Model | None:
        """The GGUF whose file name ends in the tag, with what it sees through."""
        paths = _ggufs(folder)
        first = quantizations.choose(paths, name.tag)
        if first is None:
            return None
        model = gguf_model(
            folder / first, name.display, "huggingface", self._weights, full_name=name.full
        )
        projector = quantizations.projector(paths, first)
        return with_projectors(model, [folder / projector] if projector else [], self._weights)

    def _repositories(self) -> list[Path]:
        return sorted(p for p in self._root.glob("models--*--*") if p.is_dir())


def _ggufs(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gguf"))


def _snapshot(repository: Path, revision: str) -> Path | None:
    """The files of a branch or commit; of `main` for the tag `latest`."""
    reference = repository / "refs" / ("main" if revision == names.TAG else revision)
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = repository / "snapshots" / Path(commit).name
    return folder if folder.is_dir() and Path(commit).name == commit else None
