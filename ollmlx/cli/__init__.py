"""The command: every command line of Ollama's, and some of our own."""

from ollmlx.cli.program import main

__all__ = ["main"]
