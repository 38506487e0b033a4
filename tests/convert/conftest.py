"""The toy's vocabulary, for files that need one and do not care which."""

from typing import Any

import pytest

from ollmlx.gguf import Gguf
from tests.toy import ToyModels


@pytest.fixture(scope="session")
def vocabulary(toy: ToyModels) -> dict[str, Any]:
    """Metadata, `tokenizer.*`."""
    meta = Gguf(toy.gguf).meta
    return {name: value for name, value in meta.items() if name.startswith("tokenizer.")}
