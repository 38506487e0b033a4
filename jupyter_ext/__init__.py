"""The Jupyter Server extension: Ollama's API behind Jupyter's authentication."""

from typing import Any

from ollmlx import __version__

__all__ = ["__version__"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    # Imported late: Jupyter's front ends import this package only to ask what it is called.
    from jupyter_ext.app import OllmlxApp

    return [{"module": "jupyter_ext.app", "app": OllmlxApp}]
