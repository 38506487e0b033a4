"""Local language models that live inside Jupyter, behind the whole Ollama API."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ollmlx.client import AsyncClient, Client, NoServer, Server, find
    from ollmlx.errors import (
        BadRequest,
        Busy,
        Cancelled,
        Forbidden,
        InvalidName,
        LoadFailed,
        NotFound,
        OllmlxError,
        Unavailable,
        WorkerDied,
    )

__version__ = "0.1.0.dev0"
__all__ = [
    "AsyncClient",
    "BadRequest",
    "Busy",
    "Cancelled",
    "Client",
    "Forbidden",
    "InvalidName",
    "LoadFailed",
    "NoServer",
    "NotFound",
    "OllmlxError",
    "Server",
    "Unavailable",
    "WorkerDied",
    "find",
    "load_ipython_extension",
]
_IN_CLIENT = {"AsyncClient", "Client", "NoServer", "Server", "find"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: a worker, say, needs no client."""
    if name not in __all__:
        raise AttributeError(f"module 'ollmlx' has no attribute {name!r}")
    module = import_module("ollmlx.client" if name in _IN_CLIENT else "ollmlx.errors")
    return getattr(module, name)


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """What `%load_ext ollmlx` does: the magics `%ollmlx` and `%%ollmlx`."""
    from ollmlx.notebook.magics import OllmlxMagics

    shell.register_magics(OllmlxMagics)
