"""Ollama's commands that ollmlx does not have."""

from ollmlx.cli.flags import Words
from ollmlx.errors import OllmlxError


class NoLauncher(OllmlxError):
    """Asked to set up a program of somebody else."""


def launch(_: Words) -> None:
    raise NoLauncher("ollmlx sets up no other programs: point them at OLLAMA_HOST instead")
