"""Local language models that live inside Jupyter, behind the whole Ollama API."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ollmlx.client import AsyncClient, Client
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
    from ollmlx.servers import NoServer, Server, find
    from ollmlx.widgets.chat import Chat
    from ollmlx.widgets.manager import ModelManager
    from ollmlx.widgets.telemetry import Telemetry
    from ollmlx.widgets.tokens import TokenView

__version__ = "0.1.0.dev0"
__all__ = [
    "AsyncClient",
    "BadRequest",
    "Busy",
    "Cancelled",
    "Chat",
    "Client",
    "Forbidden",
    "InvalidName",
    "LoadFailed",
    "ModelManager",
    "NoServer",
    "NotFound",
    "OllmlxError",
    "Server",
    "Telemetry",
    "TokenView",
    "Unavailable",
    "WorkerDied",
    "find",
    "load_ipython_extension",
    "register_accessors",
    "unload_ipython_extension",
]
_MODULES = {
    **dict.fromkeys(("AsyncClient", "Client"), "client"),
    **dict.fromkeys(("NoServer", "Server", "find"), "servers"),
    "Chat": "widgets.chat",
    "ModelManager": "widgets.manager",
    "Telemetry": "widgets.telemetry",
    "TokenView": "widgets.tokens",
}
"""Where public names are that are no errors."""
# Those of the `ollama` package: `import ollmlx as ollama` runs what was written for it.
# Not in __all__, as `from ollmlx import *` would put `list` and `map` in the place of Python's.
_OF_CLIENT = {
    *("chat", "generate", "embed", "embeddings", "list", "show", "ps", "pull", "push"),
    *("create", "copy", "delete"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: a worker, say, needs no client."""
    if name == "map":
        return import_module("ollmlx.batch.mapping").map
    if name in _OF_CLIENT:
        return import_module("ollmlx.client").function(name)
    if name not in __all__:
        raise AttributeError(f"module 'ollmlx' has no attribute {name!r}")
    return getattr(import_module(f"ollmlx.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    """What Tab offers: not what this module itself imports."""
    return sorted({*__all__, *_OF_CLIENT, "map", "__doc__", "__version__"})


def register_accessors() -> None:
    """Put `.ollmlx` on the tables of pandas and polars; `%load_ext ollmlx` does it, too."""
    from ollmlx.batch.accessors import register

    register()


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """What `%load_ext ollmlx` does: `%ollmlx`, `%%ollmlx`, and `.ollmlx` on tables."""
    from ollmlx.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: "InteractiveShell") -> None:
    """What `%unload_ext ollmlx` does: a server that `%ollmlx serve` started ends."""
    from ollmlx.notebook.extension import unload

    unload(shell)
