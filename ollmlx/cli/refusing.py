"""Ollama's commands that need its company's services, which ollmlx has none of."""

from ollmlx.cli.flags import Words
from ollmlx.errors import OllmlxError


class NoCloud(OllmlxError):
    """Asked for something that only ollama.com does."""


def sign_in(_: Words) -> None:
    raise NoCloud("there is nothing to sign in to: ollmlx runs models on this machine only")


def sign_out(_: Words) -> None:
    raise NoCloud("there is nothing to sign out of: ollmlx runs models on this machine only")


def launch(_: Words) -> None:
    raise NoCloud("ollmlx sets up no other programs: point them at OLLAMA_HOST instead")
