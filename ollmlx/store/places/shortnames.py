"""Short names of popular MLX models: a tag `…-mlx` beside Ollama's own names.

The one table that pull, the documentation and the model picker read.
"""

from dataclasses import dataclass

from ollmlx import names
from ollmlx.names import Name


@dataclass(frozen=True)
class ShortName:
    name: str
    repository: str
    """On the Hugging Face hub; weights of four bits."""
    parameters: str
    """How many, as Ollama words it."""
    download: float
    """GB, roughly."""

    @property
    def target(self) -> Name:
        return names.parse(self.repository)


SHORT_NAMES = (
    ShortName("smollm2:135m-mlx", "mlx-community/SmolLM2-135M-Instruct-4bit", "135M", 0.1),
    ShortName("smollm2:1.7b-mlx", "mlx-community/SmolLM2-1.7B-Instruct-4bit", "1.7B", 1.0),
    ShortName("llama3.2:1b-mlx", "mlx-community/Llama-3.2-1B-Instruct-4bit", "1.2B", 0.7),
    ShortName("llama3.2:3b-mlx", "mlx-community/Llama-3.2-3B-Instruct-4bit", "3.2B", 1.8),
    ShortName("gemma2:2b-mlx", "mlx-community/gemma-2-2b-it-4bit", "2.6B", 1.5),
    ShortName("phi3.5:3.8b-mlx", "mlx-community/Phi-3.5-mini-instruct-4bit", "3.8B", 2.2),
    ShortName("mistral:7b-mlx", "mlx-community/Mistral-7B-Instruct-v0.3-4bit", "7.2B", 4.1),
    ShortName("qwen2.5:7b-mlx", "mlx-community/Qwen2.5-7B-Instruct-4bit", "7.6B", 4.3),
)


def meant(name: Name) -> Name:
    """The repository that a short name stands for; any other name stands for itself."""
    found = (short for short in SHORT_NAMES if names.parse(short.name).matches(name))
    return next((short.target for short in found), name)
