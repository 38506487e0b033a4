"""Local language models that live inside Jupyter, behind the whole Ollama API."""

__version__ = "0.1.0.dev0"
