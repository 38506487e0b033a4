"""Folders that hold what a repository of the Hugging Face hub holds: safetensors that are one
model, or GGUFs of which each is a quantisation.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ollmlx import names
from ollmlx.errors import InvalidName
from ollmlx.names import Name
from ollmlx.store.model import Model
from ollmlx.store.places.folders import in_folder
from ollmlx.store.transfer import quantizations
from ollmlx.store.transfer.quantizations import first_files
from ollmlx.store.weights import Weights, gguf_model, with_projectors

HOSTS = (names.HOST, "hf.co", "huggingface.co")
"""Where a name may say that a repository is; GGUFs are listed with the second."""


class Repositories:
    """Of one place on this machine.  What raises does so for what is not a whole model:
    `NotAModel`, `BadDocument` or `BadGguf`.
    """

    def __init__(self, source: str, weights: Weights) -> None:
        self._source = source
        self._weights = weights

    def names(self, folder: Path, stem: str) -> Iterator[Name]:
        """Of every model in the repository `stem`, as far as names can spell them.

        A GGUF that does not say its quantisation is the repository's only one, or has no name.
        """
        texts = [stem]
        if not any(folder.glob("*.safetensors")):
            found = first_files(ggufs(folder))
            tags = [quantizations.quantization(path) for path in found]
            alone = names.TAG if len(found) == 1 else ""
            texts = [f"hf.co/{stem}:{tag or alone}" for tag in tags if tag or alone]
        for text in texts:
            with suppress(InvalidName):  # a repository that no model name can spell
                yield names.parse(text)

    def listed(self, folder: Path, name: Name) -> Model | None:
        """None for what cannot chat: such folders also hold much that no engine here runs."""
        if any(folder.glob("*.safetensors")):
            model = self.whole(folder, name)
            return model if model.chat_template else None
        return self.quantized(folder, name)

    def whole(self, folder: Path, name: Name) -> Model:
        """The model that the name without a tag means."""
        if not any(folder.glob("*.safetensors")) and (model := self.quantized(folder, name)):
            return model
        return in_folder(folder, name.display, self._source, self._weights, full_name=name.full)

    def quantized(self, folder: Path, name: Name) -> Model | None:
        """The GGUF whose file name ends in the tag, with what it sees through."""
        paths = ggufs(folder)
        first = quantizations.choose(paths, name.tag)
        if first is None:
            return None
        model = gguf_model(
            folder / first, name.display, self._source, self._weights, full_name=name.full
        )
        projector = quantizations.projector(paths, first)
        return with_projectors(model, [folder / projector] if projector else [], self._weights)


def ggufs(folder: Path) -> list[str]:
    """Relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gguf"))
